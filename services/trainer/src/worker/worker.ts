import { rm } from 'node:fs/promises';
import path from 'node:path';
import { fromJsonString } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { type TaskOutcome, WorkQueue } from '@landfall/common/events/work-queue.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { JobState } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { GetJobRequestSchema } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { WorkerService } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import { RegistryGateway } from '../clients/registry.ts';
import { PATIENCE_MS, ReplicaPool } from '../clients/replicas.ts';
import type { WorkerConfig } from '../config.ts';
import { QUEUE } from '../domain/queue.ts';
import { TrainingError } from '../engine/train/errors.ts';
import { trainerIdentity } from '../identity.ts';
import { Attempt, AttemptStopped } from './attempt.ts';
import { jobFolder, type PipelineContext, runPipeline } from './pipeline.ts';

/** A job that another attempt has is put off for long: that attempt's own signs of life decide when it comes again. */
const STALE_RETRY_MS = 60_000;
const RETRY_MS = 1000;

export interface Overrides {
  logger?: Logger;
}

/** A worker: takes jobs off the queue, one at a time, and runs each to its registered version. */
export class TrainerWorker implements Service {
  readonly #config: WorkerConfig;
  readonly #logger: Logger;
  readonly #drain = new AbortController();
  readonly #running = new AsyncDisposableStack();

  static async create(config: WorkerConfig, overrides: Overrides = {}): Promise<TrainerWorker> {
    return new TrainerWorker(config, overrides);
  }

  private constructor(config: WorkerConfig, overrides: Overrides) {
    this.#config = config;
    this.#logger = overrides.logger ?? createLogger('trainer-worker', config.logLevel);
  }

  /** Resolves when jobs are taken. Its server has nothing but health. */
  async start(): Promise<{ address: string; metrics: string }> {
    const config = this.#config;
    const logger = this.#logger;
    const telemetry = await startTelemetry('trainer-worker', config.metricsPort);
    this.#running.defer(() => telemetry.stop());
    const signer = new IdentitySigner(config.meshKey);
    const server = new RpcServer({ signer, logger, tls: config.tls });
    const bound = await server.listen(config.listen.host, config.listen.port);
    this.#running.defer(() => server.drain(config.graceMs));

    const rpc = { signer, tls: config.tls, identity: trainerIdentity('') };
    const open = (address: string) => {
      const channel = new RpcChannel(address, rpc);
      this.#running.defer(() => channel.close());
      return channel;
    };
    const { balancerUrl } = config;
    const replicas = this.#running.use(
      new BalancedClient({ balancerUrl, service: 'trainer', rpc, logger, waitMs: PATIENCE_MS }),
    );
    const context: PipelineContext = {
      config,
      logger,
      registry: new RegistryGateway(
        open(config.registryUrl).client(RegistryService),
        path.join(config.home, 'cache', 'versions'),
      ),
      replicas: new ReplicaPool(open(balancerUrl).client(BalancerService), replicas, logger),
    };
    const control = open(config.trainerUrl).client(WorkerService);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, 'trainer-worker', logger));
    const queue = new WorkQueue({ broker, logger, ...QUEUE, ackWaitMs: config.ackWaitMs });
    const loop = queue.work((payload) => this.#run(context, control, payload), this.#drain.signal);
    this.#running.defer(async () => {
      this.#drain.abort();
      await loop;
    });
    server.health.set('readiness', true);
    return { address: `${config.listen.host}:${bound}`, metrics: telemetry.metricsUrl };
  }

  /** Hands the job in hand back to the queue after its step, with a checkpoint. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }

  async #run(
    context: PipelineContext,
    control: RpcClient<typeof WorkerService>,
    payload: string,
  ): Promise<TaskOutcome> {
    const { logger, config } = context;
    const { id: jobId } = fromJsonString(GetJobRequestSchema, payload);
    const { workerName: worker, reportMs } = config;
    const options = { jobId, worker, reportMs, drain: this.#drain.signal };
    await using attempt = await Attempt.start(control, logger, options);
    if (!attempt) return 'done';
    try {
      await runPipeline(context, attempt);
      await attempt.finish(JobState.SUCCEEDED);
      await this.#clear(jobId);
      return 'done';
    } catch (error) {
      return await this.#ended(attempt, error);
    }
  }

  /** Removes checkpoints of a job that has its version, or was not wanted any more. */
  async #clear(jobId: string): Promise<void> {
    await rm(jobFolder(this.#config, jobId), { recursive: true, force: true }).catch((error) =>
      this.#logger.warn({ err: error, job_id: jobId }, 'an ended job could not be cleared away'),
    );
  }

  /** What becomes of a job whose attempt did not get to its end. */
  async #ended(attempt: Attempt, error: unknown): Promise<TaskOutcome> {
    const reason = error instanceof AttemptStopped ? error.reason : attempt.stopReason;
    switch (reason) {
      case 'cancelled':
        await attempt.finish(JobState.CANCELLED);
        await this.#clear(attempt.job.id);
        return 'done';
      case 'ended':
        return 'done';
      case 'stale':
        return { retryAfterMs: STALE_RETRY_MS };
      case 'drain':
        return { retryAfterMs: 0 };
    }
    const jobId = attempt.job.id;
    const known = error instanceof TrainingError || error instanceof LandfallError;
    const internal = error instanceof LandfallError && error.code === status.INTERNAL;
    if (!known || internal) {
      // Not of the job's making, as far as can be told: another attempt may do better. Attempts that get no further
      // are counted, so this ends.
      this.#logger.error({ err: error, job_id: jobId }, 'an attempt failed');
      return { retryAfterMs: RETRY_MS };
    }
    this.#logger.warn({ err: error, job_id: jobId }, 'a job fails');
    await attempt.finish(JobState.FAILED, error.message);
    return 'done';
  }
}
