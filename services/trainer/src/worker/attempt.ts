import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import {
  type BackwardTransfer,
  type EvaluationResult,
  type Job,
  type JobState,
  type Progress,
  type SeriesPoint,
  SeriesPointSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { WorkerService } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import type { StepPoint } from '../engine/train/checkpoint.ts';
import type { Look } from '../engine/train/validation.ts';
import { trainerIdentity } from '../identity.ts';
import { beginProgress } from './progress.ts';

/** Why an attempt stops before its job has ended. */
export type StopReason = 'cancelled' | 'stale' | 'ended' | 'drain';

/** Thrown into a stage when the attempt stops. */
export class AttemptStopped extends Error {
  readonly reason: StopReason;

  constructor(reason: StopReason) {
    super(`the attempt stops: ${reason}`);
    this.reason = reason;
  }
}

const AWAY = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.CANCELLED,
]);
const LONGEST_PAUSE_MS = 5000;
/** How long another service may be away before the job is given up. */
const PATIENCE_MS = 10 * 60_000;

/** What a report carries beside progress and points. */
interface Report {
  outputVersion?: string;
  baseResult?: EvaluationResult;
  tunedResult?: EvaluationResult;
  safetyResult?: EvaluationResult;
  backwardTransfer?: BackwardTransfer[];
  stoppedEarly?: string;
  trained?: boolean;
}

/** One attempt at a job: its lease, its progress, and the signal by which it ends early. */
export class Attempt implements AsyncDisposable {
  readonly id: string;
  readonly job: Job;
  readonly identity: Identity;
  readonly progress: Progress;
  readonly #client: RpcClient<typeof WorkerService>;
  readonly #logger: Logger;
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #release: () => void;
  #loss: SeriesPoint[] = [];
  #learningRate: SeriesPoint[] = [];
  #evaluationLoss: SeriesPoint[] = [];
  #warnings: string[] = [];
  #estimatedSeconds = 0;
  #reporting: Promise<void> | undefined;

  private constructor(
    client: RpcClient<typeof WorkerService>,
    logger: Logger,
    job: Job,
    tenant: string,
    drain: AbortSignal,
    reportMs: number,
    id: string,
  ) {
    this.id = id;
    this.#client = client;
    this.#logger = logger;
    this.job = job;
    this.identity = trainerIdentity(tenant);
    this.progress = beginProgress(job.progress);
    this.#timer = setInterval(() => void this.#beat(), reportMs);
    const onDrain = () => this.stop('drain');
    drain.addEventListener('abort', onDrain, { once: true });
    this.#release = () => drain.removeEventListener('abort', onDrain);
    if (drain.aborted) onDrain();
  }

  /**
   * Takes a job.
   *
   * @returns undefined when it has ended already
   */
  static async start(
    client: RpcClient<typeof WorkerService>,
    logger: Logger,
    options: { jobId: string; worker: string; reportMs: number; drain: AbortSignal },
  ): Promise<Attempt | undefined> {
    const { jobId, worker, reportMs, drain } = options;
    const attemptId = randomUUID();
    try {
      const reply = await client.startAttempt({ jobId, attemptId, worker });
      return new Attempt(client, logger, reply.job!, reply.tenant, drain, reportMs, attemptId);
    } catch (error) {
      const code = error instanceof LandfallError ? error.code : undefined;
      if (code === status.FAILED_PRECONDITION || code === status.NOT_FOUND) return undefined;
      throw error;
    }
  }

  /** Fires with an AttemptStopped as its reason. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Why the attempt stops, once it does. */
  get stopReason(): StopReason | undefined {
    return this.#stop.signal.aborted ? (this.#stop.signal.reason as AttemptStopped).reason : undefined;
  }

  stop(reason: StopReason): void {
    if (!this.#stop.signal.aborted) this.#stop.abort(new AttemptStopped(reason));
  }

  /** Adds a step's numbers to what the next report carries. */
  addPoint({ step, epoch, loss, learningRate }: StepPoint): void {
    this.#loss.push(create(SeriesPointSchema, { step, epoch, value: loss }));
    this.#learningRate.push(create(SeriesPointSchema, { step, epoch, value: learningRate }));
  }

  /** Adds a look at the validation rows. */
  addLook({ step, epoch, loss }: Look): void {
    this.#evaluationLoss.push(create(SeriesPointSchema, { step, epoch, value: loss }));
  }

  /** Tells the job's owner of something that went another way than asked for. */
  warn(message: string): void {
    this.#warnings.push(message);
  }

  /** The time that training takes, as measured. */
  estimate(seconds: number): void {
    this.#estimatedSeconds = seconds;
  }

  /** Reports now, and until it is heard. */
  async report(extra: Report = {}): Promise<void> {
    await this.#reporting;
    await this.patiently(() => this.#send(extra));
    this.signal.throwIfAborted();
  }

  /** Calls another service until it answers; what it refuses is thrown. */
  async patiently<T>(call: () => Promise<T>): Promise<T> {
    const startMs = Date.now();
    for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      this.signal.throwIfAborted();
      try {
        return await call();
      } catch (error) {
        const again = error instanceof LandfallError && AWAY.has(error.code);
        if (!again || this.signal.aborted || Date.now() - startMs > PATIENCE_MS) throw error;
        this.#logger.warn({ err: error, job_id: this.job.id, retry_ms: pauseMs }, 'a service is away');
        const wait = Math.max(pauseMs, error.retryAfterMs ?? 0);
        await delay(wait, undefined, { signal: this.signal }).catch(() => {});
      }
    }
  }

  /** Ends the job; tried for as long as the control service is away, even when the attempt stops. */
  async finish(
    state: JobState.SUCCEEDED | JobState.FAILED | JobState.CANCELLED,
    failure = '',
  ): Promise<void> {
    clearInterval(this.#timer);
    await this.#reporting;
    const { job, id } = this;
    const request = { jobId: job.id, attemptId: id, state, failure: failure.slice(0, 8000) };
    for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        await this.#client.finishAttempt(request);
        return;
      } catch (error) {
        if (!(error instanceof LandfallError)) throw error;
        if (error.code === status.ABORTED) throw new AttemptStopped('stale');
        if (!AWAY.has(error.code) || this.stopReason === 'drain') throw error;
        await delay(pauseMs);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#release();
    await this.#reporting;
  }

  /** A report on the clock: one that fails is made up for by the next, and says whether to stop. */
  async #beat(): Promise<void> {
    if (this.#reporting) return;
    this.#reporting = this.#send({}).then(
      () => {},
      (error) => {
        const away = error instanceof LandfallError && AWAY.has(error.code);
        if (!away) this.#logger.warn({ err: error, job_id: this.job.id }, 'a report was refused');
      },
    );
    await this.#reporting;
    this.#reporting = undefined;
  }

  async #send(extra: Report): Promise<void> {
    const [loss, learningRate, evaluationLoss] = [this.#loss, this.#learningRate, this.#evaluationLoss];
    const [warnings, estimatedSeconds] = [this.#warnings, this.#estimatedSeconds];
    this.#loss = [];
    this.#learningRate = [];
    this.#evaluationLoss = [];
    this.#warnings = [];
    const { job, id, progress } = this;
    try {
      const series = { loss, learningRate, evaluationLoss, warnings, estimatedSeconds };
      const request = { jobId: job.id, attemptId: id, progress, ...series, ...extra };
      const { cancel } = await this.#client.reportProgress(request);
      if (cancel) this.stop('cancelled');
    } catch (error) {
      this.#loss = [...loss, ...this.#loss];
      this.#learningRate = [...learningRate, ...this.#learningRate];
      this.#evaluationLoss = [...evaluationLoss, ...this.#evaluationLoss];
      this.#warnings = [...warnings, ...this.#warnings];
      if (error instanceof LandfallError && error.code === status.ABORTED) this.stop('stale');
      if (error instanceof LandfallError && error.code === status.FAILED_PRECONDITION) this.stop('ended');
      throw error;
    }
  }
}
