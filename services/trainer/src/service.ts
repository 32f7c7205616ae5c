import { join } from 'node:path';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { Database } from '@landfall/common/db/database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import { WorkQueue } from '@landfall/common/events/work-queue.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { Changes } from '@landfall/common/lifecycle/changes.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TrainerService as TrainerContract } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { WorkerService as WorkerContract } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import { DeploymentGateway } from './clients/deployments.ts';
import { RegistryGateway } from './clients/registry.ts';
import { PATIENCE_MS, ReplicaPool } from './clients/replicas.ts';
import type { TrainerConfig } from './config.ts';
import { evaluationLeftConsumer } from './consumers/evaluation-left.ts';
import { jobFinishedConsumer } from './consumers/job-finished.ts';
import type { TrainerContext } from './context.ts';
import { trainerEntities } from './db/entities.ts';
import { initialMigration } from './db/migrations/initial.ts';
import { outcomesMigration } from './db/migrations/outcomes.ts';
import { plansMigration } from './db/migrations/plans.ts';
import { planEntities } from './db/plan-entities.ts';
import { QUEUE } from './domain/queue.ts';
import { Scratch } from './domain/scratch.ts';
import { PlanController } from './plan/controller.ts';
import { trainerRoutes, workerRoutes } from './routes/routes.ts';

export interface Overrides {
  logger?: Logger;
}

/** Reports of a worker carry answered rows. */
const MAX_RECEIVE_BYTES = 16 * 1024 * 1024;

/** The control service: jobs behind TrainerService, and their workers behind WorkerService. */
export class TrainerService implements Service {
  readonly #config: TrainerConfig;
  readonly #logger: Logger;
  readonly #running = new AsyncDisposableStack();
  readonly #stopping = new AbortController();

  static async create(config: TrainerConfig, overrides: Overrides = {}): Promise<TrainerService> {
    return new TrainerService(config, overrides);
  }

  private constructor(config: TrainerConfig, overrides: Overrides) {
    this.#config = config;
    this.#logger = overrides.logger ?? createLogger(config.name, config.logLevel);
  }

  /** Resolves when calls are taken. Listens before the broker is there, so that liveness can be seen. */
  async start(): Promise<{ address: string; metrics: string }> {
    const config = this.#config;
    const logger = this.#logger;
    const telemetry = await startTelemetry(config.name, config.metricsPort);
    this.#running.defer(() => telemetry.stop());
    const database = this.#running.use(
      await Database.open({
        service: config.name,
        url: config.databaseUrl,
        file: join(config.home, 'trainer.sqlite'),
        entities: [...trainerEntities, ...planEntities],
        migrations: [initialMigration, outcomesMigration, plansMigration],
      }),
    );
    const signer = new IdentitySigner(config.meshKey);
    const server = new RpcServer({ signer, logger, tls: config.tls, maxReceiveBytes: MAX_RECEIVE_BYTES });
    const context = this.#context(database, signer);
    await context.scratch.sweep();
    server.add(TrainerContract, trainerRoutes(context)).add(WorkerContract, workerRoutes(context));
    const { host, port } = config.listen;
    const bound = await server.listen(host, port);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, config.name, logger));
    // Before the outbox runs: a task needs the queue to be there.
    await new WorkQueue({ broker, logger, ...QUEUE }).ensure();
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    const plans = this.#running.use(context.plans);
    plans.start(context);
    await this.#running.use(jobFinishedConsumer(context, broker)).start();
    await this.#running.use(evaluationLeftConsumer(context, broker)).start();
    this.#running.defer(() => server.drain(config.graceMs));
    server.health.set('readiness', true);
    return { address: `${host}:${bound}`, metrics: telemetry.metricsUrl };
  }

  /** Not ready, running calls end within the grace period, then outbox, broker and database in reverse order. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running.disposeAsync();
  }

  #context(database: Database, signer: IdentitySigner): TrainerContext {
    const config = this.#config;
    const logger = this.#logger;
    const rpc = { signer, tls: config.tls };
    const registry = new RpcChannel(config.registryUrl, rpc);
    const balancer = new RpcChannel(config.balancerUrl, rpc);
    const { balancerUrl } = config;
    const replicas = new BalancedClient({
      ...{ balancerUrl, service: config.name, rpc, logger },
      waitMs: PATIENCE_MS,
    });
    this.#running.defer(() => registry.close());
    this.#running.defer(() => balancer.close());
    return {
      config,
      logger,
      database,
      registry: new RegistryGateway(registry.client(RegistryService), join(config.home, 'cache', 'versions')),
      replicas: new ReplicaPool(balancer.client(BalancerService), this.#running.use(replicas), logger),
      deployments: new DeploymentGateway(balancer.client(BalancerService)),
      changes: new Changes(),
      plans: new PlanController(),
      scratch: new Scratch(config.home),
      stopping: this.#stopping.signal,
    };
  }
}
