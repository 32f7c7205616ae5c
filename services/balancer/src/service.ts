import { join } from 'node:path';
import { Database } from '@landfall/common/db/database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { BalancerService as BalancerContract } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { BalancerConfig } from './config.ts';
import { aliasMovedConsumer } from './consumers/alias-moved.ts';
import type { BalancerContext } from './context.ts';
import { Fleet } from './control/fleet.ts';
import { balancerEntities } from './db/entities.ts';
import { initialMigration } from './db/migrations/initial.ts';
import { rolloutsMigration } from './db/migrations/rollouts.ts';
import { AliasFollower } from './domain/alias-follower.ts';
import { DEFAULT_RUNTIME } from './domain/variant.ts';
import { deploy } from './routes/deploy.ts';
import { endCanary } from './routes/end-canary.ts';
import { getDeployment } from './routes/get-deployment.ts';
import { listDeployments } from './routes/list-deployments.ts';
import { pauseDeployment } from './routes/pause-deployment.ts';
import { pick } from './routes/pick.ts';
import { promoteCanary } from './routes/promote-canary.ts';
import { reportOutcomes } from './routes/report-outcomes.ts';
import { reportScore } from './routes/report-score.ts';
import { resumeDeployment } from './routes/resume-deployment.ts';
import { startCanary } from './routes/start-canary.ts';
import { stopDeployment } from './routes/stop-deployment.ts';
import { undoDeployment } from './routes/undo-deployment.ts';
import { updateDeployment } from './routes/update-deployment.ts';
import { watchEndpoints } from './routes/watch-endpoints.ts';
import { ChildProcesses } from './runtime/child-processes.ts';
import type { Runtime } from './runtime/runtime.ts';

export interface Overrides {
  logger?: Logger;
  /** Where replicas run, in place of child processes. */
  runtime?: Runtime;
}

/** The balancer: deployments and their replicas behind BalancerService. */
export class BalancerService implements Service {
  readonly #config: BalancerConfig;
  readonly #logger: Logger;
  readonly #overrides: Overrides;
  readonly #running = new AsyncDisposableStack();
  readonly #draining = new AbortController();

  static async create(config: BalancerConfig, overrides: Overrides = {}): Promise<BalancerService> {
    return new BalancerService(config, overrides);
  }

  private constructor(config: BalancerConfig, overrides: Overrides) {
    this.#config = config;
    this.#overrides = overrides;
    this.#logger = overrides.logger ?? createLogger(config.name, config.logLevel);
  }

  /** Resolves when calls are taken; replicas of an earlier balancer are adopted before the first one is. */
  async start(): Promise<{ address: string; metrics: string }> {
    const config = this.#config;
    const logger = this.#logger;
    const telemetry = await startTelemetry(config.name, config.metricsPort);
    this.#running.defer(() => telemetry.stop());
    const database = this.#running.use(await openDatabase(config));
    const signer = new IdentitySigner(config.meshKey);
    const rpc = { signer, tls: config.tls };
    const channel = new RpcChannel(config.registryUrl, rpc);
    this.#running.defer(() => channel.close());
    const registry = channel.client(RegistryService);
    const runtime = this.#overrides.runtime ?? childProcesses(config);
    const runtimes = new Map([[DEFAULT_RUNTIME, runtime]]);
    const fleet = new Fleet({ config, database, runtimes, rpc, logger });
    await fleet.start();
    const server = this.#server({
      config,
      logger,
      database,
      fleet,
      registry,
      draining: this.#draining.signal,
    });
    const { host, port } = config.listen;
    const bound = await server.listen(host, port);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, config.name, logger));
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    const aliases = this.#running.use(
      new AliasFollower({ database, fleet, registry, logger, intervalMs: config.aliasMs }),
    );
    aliases.start();
    const consumer = this.#running.use(aliasMovedConsumer(aliases, broker, logger));
    await consumer.start();
    // Side by side: callers are told to come again while the replicas finish what they have.
    this.#running.defer(async () => {
      await Promise.all([server.drain(config.graceMs), fleet.stop(config.onStop)]);
    });
    server.health.set('readiness', true);
    return { address: `${host}:${bound}`, metrics: telemetry.metricsUrl };
  }

  /** Not ready, streams end, replicas stop or are left as configured; then outbox, broker and database. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#draining.abort();
    await this.#running.disposeAsync();
  }

  #server(context: BalancerContext): RpcServer {
    const { config, logger } = context;
    const signer = new IdentitySigner(config.meshKey);
    return new RpcServer({ signer, logger, tls: config.tls }).add(BalancerContract, {
      deploy: deploy(context),
      getDeployment: getDeployment(context),
      listDeployments: listDeployments(context),
      updateDeployment: updateDeployment(context),
      stopDeployment: stopDeployment(context),
      watchEndpoints: watchEndpoints(context),
      pick: pick(context),
      pauseDeployment: pauseDeployment(context),
      resumeDeployment: resumeDeployment(context),
      undoDeployment: undoDeployment(context),
      startCanary: startCanary(context),
      promoteCanary: promoteCanary(context),
      endCanary: endCanary(context),
      reportOutcomes: reportOutcomes(context),
      reportScore: reportScore(context),
    });
  }
}

/** The balancer's own database, migrated. */
export function openDatabase(config: BalancerConfig): Promise<Database> {
  return Database.open({
    service: config.name,
    url: config.databaseUrl,
    file: join(config.home, 'balancer.sqlite'),
    entities: balancerEntities,
    migrations: [initialMigration, rolloutsMigration],
  });
}

/** Replicas as processes of this machine, with their logs in the balancer's folder. */
export function childProcesses(config: BalancerConfig): ChildProcesses {
  const { command, environment } = config.replica;
  return new ChildProcesses({ command, environment, logFolder: join(config.home, 'replicas') });
}
