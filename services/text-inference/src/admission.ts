import { type LandfallError, resourceExhausted } from '@landfall/common/errors/errors.ts';

/** Weight of the newest request in the mean duration. */
const WEIGHT = 0.1;

export interface AdmissionLimits {
  /** Requests that run at once. */
  batch: number;
  /** Requests that may wait beside them. */
  queue: number;
  /** Prompt tokens that may wait. */
  queueTokens: number;
}

/** What is before a request, by the engine's last report. */
export interface Ahead {
  running: number;
  queued: number;
  queuedTokens: number;
  /** Milliseconds that the engine took for a prompt's token of late; 0 where nothing is known. */
  promptTokenMs: number;
}

/** The bounds on what is in the house: what does not fit is refused before any work, with a time to come again. */
export class Admission {
  readonly #limits: AdmissionLimits;
  #inside = 0;
  #meanMs = 1000;
  #refused = 0;

  constructor(limits: AdmissionLimits) {
    this.#limits = limits;
  }

  /** Requests that run at once. */
  get batch(): number {
    return this.#limits.batch;
  }

  get inside(): number {
    return this.#inside;
  }

  /** Requests refused since the start. */
  get refused(): number {
    return this.#refused;
  }

  /** Takes a place; the returned function gives it back. @throws LandfallError RESOURCE_EXHAUSTED with RetryInfo. */
  enter(): () => void {
    const { batch, queue } = this.#limits;
    if (this.#inside >= batch + queue)
      throw this.#refuse('QUEUE_FULL', `the queue is full: ${this.#inside} requests run or wait`);
    this.#inside++;
    const start = performance.now();
    let left = false;
    return () => {
      if (left) return;
      left = true;
      this.#inside--;
      this.#meanMs += (performance.now() - start - this.#meanMs) * WEIGHT;
    };
  }

  /**
   * Looks at a prompt whose length is known, before it is queued: the tokens that wait are bounded, and what could not
   * even begin to answer before its deadline is not begun.
   * @param deadlineMs since 1970, or Infinity
   * @throws LandfallError RESOURCE_EXHAUSTED with RetryInfo
   */
  check(promptTokens: number, deadlineMs: number, ahead: Ahead): void {
    const { queueTokens, batch } = this.#limits;
    const waiting = ahead.queuedTokens;
    // A prompt as large as the whole bound is taken where nothing else waits.
    if (waiting > 0 && waiting + promptTokens > queueTokens)
      throw this.#refuse('QUEUE_FULL', `the queue is full: prompts of ${waiting} tokens wait`);
    const places = Math.max(0, ahead.running + ahead.queued + 1 - batch);
    const firstTokenMs = (waiting + promptTokens) * ahead.promptTokenMs + places * this.#turnMs;
    if (Date.now() + firstTokenMs <= deadlineMs) return;
    const seconds = (firstTokenMs / 1000).toFixed(1);
    throw this.#refuse(
      'DEADLINE_TOO_SOON',
      `the first token would come in about ${seconds} s, past the deadline`,
    );
  }

  /** A place is free when one of the running requests ends. */
  get #turnMs(): number {
    return this.#meanMs / this.#limits.batch;
  }

  #refuse(reason: string, message: string): LandfallError {
    this.#refused++;
    const retryAfterMs = Math.ceil(Math.min(30_000, Math.max(50, this.#turnMs)));
    return resourceExhausted(message, { reason, retryAfterMs });
  }
}
