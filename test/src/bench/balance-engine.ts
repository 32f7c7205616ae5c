/**
 * A replica of the simulation: iteration-level scheduling with chunked prefill beside decode, as the serving engine
 * does it, over step times that were measured with the real one. No arithmetic, no clock of its own.
 */

import { create } from '@bufbuild/protobuf';
import { PREFIX_BYTES, PrefixSketch } from '@landfall/common/balancing/prefix-keys.ts';
import { type Load, LoadSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';

/**
 * Milliseconds of one decode step by rows, and prompt tokens a second: the 135M shape of `npm run bench -- make-model`
 * in f32 on 2 threads, as the engine ran it.
 */
export const DECODE_STEP_MS: readonly (readonly [rows: number, ms: number])[] = [
  [1, 34],
  [4, 37],
  [8, 48],
  [16, 55],
];
export const PREFILL_TOKENS_PER_SECOND = 834;
export const MAX_BATCH = 16;
/** Prompt tokens that one step takes beside its decoding rows. */
export const STEP_PROMPT_TOKENS = 128;
/** Weight of the newest step in the mean that a replica tells. */
const STEP_WEIGHT = 0.1;

/** Time of a step, interpolated between what was measured. */
export function stepMs(decodeRows: number, promptTokens: number): number {
  return decodeMs(decodeRows) + (promptTokens * 1000) / PREFILL_TOKENS_PER_SECOND;
}

function decodeMs(rows: number): number {
  if (rows === 0) return 0;
  for (let i = 1; i < DECODE_STEP_MS.length; i++) {
    const [fewer, fast] = DECODE_STEP_MS[i - 1]!;
    const [more, slow] = DECODE_STEP_MS[i]!;
    if (rows <= more) return fast + ((slow - fast) * (rows - fewer)) / (more - fewer);
  }
  return DECODE_STEP_MS[DECODE_STEP_MS.length - 1]![1];
}

/** A request, and how far it is. */
export interface Job {
  readonly arrivedMs: number;
  readonly promptTokens: number;
  readonly outputTokens: number;
  readonly keys: readonly bigint[];
  /** Prompt tokens that are still to be computed. */
  promptLeft: number;
  outputLeft: number;
  firstMs: number;
  endMs: number;
}

export class SimulatedReplica {
  /** How many times longer its steps take than they should. */
  slowness = 1;
  refused = 0;
  #queue: Job[] = [];
  #running: Job[] = [];
  readonly #sketch = new PrefixSketch();
  #stepMs = 0;
  #finished = 0;
  #outputTokens = 0;
  #step: { decoding: Job[]; prefilled: [Job, number][] } | undefined;
  savedTokens = 0;

  get isIdle(): boolean {
    return this.#step === undefined;
  }

  get load(): Load {
    const tokens = (job: Job) => job.promptTokens - job.promptLeft + job.outputTokens - job.outputLeft;
    return create(LoadSchema, {
      running: this.#running.length,
      queued: this.#queue.length,
      queuedTokens: BigInt(this.#queue.reduce((sum, job) => sum + job.promptLeft, 0)),
      runningTokens: BigInt(this.#running.reduce((sum, job) => sum + tokens(job), 0)),
      stepMs: this.#stepMs,
      maxBatch: MAX_BATCH,
      finished: BigInt(this.#finished),
      outputTokens: BigInt(this.#outputTokens),
      cachedPrefixes: [...this.#sketch.keys],
    });
  }

  /** See PrefixSketch.version. */
  get prefixes(): number {
    return this.#sketch.version;
  }

  add(job: Job): void {
    this.#queue.push(job);
  }

  /** Decides who takes part in the next step. @returns its time in milliseconds; 0 when there is nothing to do */
  begin(): number {
    while (this.#running.length < MAX_BATCH && this.#queue.length > 0) this.#admit(this.#queue.shift()!);
    if (this.#running.length === 0) return 0;
    const decoding = this.#running.filter((job) => job.promptLeft === 0);
    const prefilled: [Job, number][] = [];
    let room = STEP_PROMPT_TOKENS;
    for (const job of this.#running) {
      const chunk = Math.min(job.promptLeft, room);
      if (chunk > 0) prefilled.push([job, chunk]);
      room -= chunk;
    }
    this.#step = { decoding, prefilled };
    const ms = stepMs(decoding.length, STEP_PROMPT_TOKENS - room) * this.slowness;
    this.#stepMs = this.#stepMs === 0 ? ms : this.#stepMs + (ms - this.#stepMs) * STEP_WEIGHT;
    return ms;
  }

  /** Ends the step that was begun. @returns the requests that got a token in it */
  end(nowMs: number): Job[] {
    const { decoding, prefilled } = this.#step!;
    this.#step = undefined;
    for (const [job, chunk] of prefilled) job.promptLeft -= chunk;
    const told = [...decoding, ...prefilled.map(([job]) => job).filter((job) => job.promptLeft === 0)];
    for (const job of told) {
      if (job.firstMs === 0) {
        job.firstMs = nowMs;
        this.#sketch.add(job.keys);
      }
      this.#outputTokens++;
      if (--job.outputLeft > 0) continue;
      job.endMs = nowMs;
      this.#finished++;
      this.#running.splice(this.#running.indexOf(job), 1);
    }
    return told;
  }

  #admit(job: Job): void {
    const at = job.keys.findLastIndex((key) => this.#sketch.keys.includes(key));
    // The last token is always computed: its logits are what the first new one comes from.
    const cached = at < 0 ? 0 : Math.min(PREFIX_BYTES[at]! / 4, job.promptTokens - 1);
    job.promptLeft -= cached;
    this.savedTokens += cached;
    this.#running.push(job);
  }
}
