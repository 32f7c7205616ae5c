import { type LandfallError, resourceExhausted } from '@landfall/common/errors/errors.ts';

/** Weight of the newest request in the mean duration. */
const WEIGHT = 0.1;

/** The bound on requests in the house: what does not fit is refused before any work, with a time to come again. */
export class Admission {
  readonly #most: number;
  readonly #batch: number;
  #inside = 0;
  #meanMs = 1000;

  /** @param batch requests that run at once. @param queue requests that may wait beside them. */
  constructor(batch: number, queue: number) {
    this.#batch = batch;
    this.#most = batch + queue;
  }

  get inside(): number {
    return this.#inside;
  }

  /** Takes a place; the returned function gives it back. @throws LandfallError RESOURCE_EXHAUSTED with RetryInfo. */
  enter(): () => void {
    if (this.#inside >= this.#most) throw this.#full();
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

  #full(): LandfallError {
    // A place is free when one of the running requests ends.
    const retryAfterMs = Math.ceil(Math.min(30_000, Math.max(50, this.#meanMs / this.#batch)));
    return resourceExhausted(`the queue is full: ${this.#inside} requests run or wait`, {
      reason: 'QUEUE_FULL',
      retryAfterMs,
    });
  }
}
