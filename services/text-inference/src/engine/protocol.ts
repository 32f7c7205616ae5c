/** Messages between the service's thread and the model's thread. Everything in them can be cloned. */

import type { EngineLoad, SequenceEvent, StepReport } from './engine.ts';
import type { ModelShape, RunnerOptions } from './runner.ts';
import type { SchedulerLimits } from './scheduler.ts';
import type { EngineRequest } from './sequence.ts';

export interface ModelThreadOptions {
  runner: RunnerOptions;
  limits: SchedulerLimits;
  /** Module with the runner's `createRunner`, as a URL. */
  runnerModule: string;
}

/** A token as the API shows it. */
export interface DescribedToken {
  text: string;
  bytes: Uint8Array;
  logprob: number;
}

export interface ModelEvent extends Omit<SequenceEvent, 'logprob'> {
  logprob?: (DescribedToken & { top: DescribedToken[] }) | undefined;
}

export interface ModelStep extends Omit<StepReport, 'events'> {
  events: ModelEvent[];
}

export interface ModelLoad extends EngineLoad {
  /** Keys of the adapters that are loaded. */
  adapters: string[];
}

export type ToModel =
  | { type: 'submit'; request: EngineRequest }
  | { type: 'cancel'; id: string }
  | { type: 'load-adapter'; call: number; key: string; folder: string }
  | { type: 'unload-adapter'; call: number; key: string }
  | { type: 'close' };

/** Why a call or a request was turned down, for whoever maps it to a status. */
export type Refusal = 'adapter-missing' | 'adapter-unusable' | 'adapter-table-full' | 'request' | 'internal';

export type FromModel =
  | { type: 'ready'; shape: ModelShape; load: ModelLoad }
  | { type: 'failed'; message: string }
  | { type: 'step'; step: ModelStep; load: ModelLoad }
  | { type: 'load'; load: ModelLoad }
  | { type: 'refused'; id: string; refusal: Refusal; message: string }
  | { type: 'answer'; call: number; value: AdapterAnswer }
  | { type: 'call-failed'; call: number; refusal: Refusal; message: string };

export interface AdapterAnswer {
  /** Milliseconds from the call to the first possible step. */
  loadMs: number;
  /** False when the call found nothing to do. */
  changed: boolean;
}

export class RefusedError extends Error {
  override name = 'RefusedError';
  readonly refusal: Refusal;
  constructor(refusal: Refusal, message: string) {
    super(message);
    this.refusal = refusal;
  }
}
