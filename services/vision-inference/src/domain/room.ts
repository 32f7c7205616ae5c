import { resourceExhausted } from '@landfall/common/errors/errors.ts';

const RETRY_MS = 1000;

/** A bounded number of places, and a bounded queue before them. */
export class Room {
  readonly #places: number;
  readonly #mostWaiting: number;
  #taken = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number, mostWaiting: number) {
    this.#places = places;
    this.#mostWaiting = mostWaiting;
  }

  /**
   * Does work in a place of its own, waiting for one where all are taken.
   * @throws LandfallError RESOURCE_EXHAUSTED with RetryInfo when too many wait already
   */
  async within<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    await this.#enter(signal);
    try {
      return await work();
    } finally {
      // The place goes straight to who waits longest: nobody may slip in between.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#taken--;
    }
  }

  async #enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#taken < this.#places) {
      this.#taken++;
      return;
    }
    if (this.#waiting.length >= this.#mostWaiting) {
      throw resourceExhausted(`${this.#mostWaiting} images wait already; try again in a moment`, {
        ...{ reason: 'QUEUE_FULL', retryAfterMs: RETRY_MS },
      });
    }
    await this.#turn(signal);
  }

  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const take = () => {
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(take), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#waiting.push(take);
    });
  }
}
