import { resourceExhausted } from '@landfall/common/errors/errors.ts';

const RETRY_AFTER_MS = 5000;

/** Lets a few pieces of heavy work run at once; others wait, up to a bound. */
export class Turns {
  readonly #running: number;
  readonly #waiting: number;
  readonly #queue: (() => void)[] = [];
  #taken = 0;

  constructor(limits: { running: number; waiting: number }) {
    this.#running = limits.running;
    this.#waiting = limits.waiting;
  }

  /**
   * Waits for a turn, which lasts until the result is disposed of.
   *
   * @throws LandfallError RESOURCE_EXHAUSTED when too many wait; the signal's reason when it fires
   */
  async take(signal: AbortSignal): Promise<Disposable> {
    signal.throwIfAborted();
    if (this.#taken < this.#running) this.#taken++;
    else await this.#wait(signal);
    return { [Symbol.dispose]: () => this.#pass() };
  }

  async #wait(signal: AbortSignal): Promise<void> {
    if (this.#queue.length >= this.#waiting) {
      throw resourceExhausted('too much of this work waits already; try again later', {
        reason: 'TOO_MANY_WAITING',
        retryAfterMs: RETRY_AFTER_MS,
      });
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const enter = () => {
      signal.removeEventListener('abort', leave);
      resolve();
    };
    const leave = () => {
      this.#queue.splice(this.#queue.indexOf(enter), 1);
      reject(signal.reason);
    };
    this.#queue.push(enter);
    signal.addEventListener('abort', leave, { once: true });
    await promise;
  }

  /** Hands the turn to whoever waits longest. */
  #pass(): void {
    const next = this.#queue.shift();
    if (next) next();
    else this.#taken--;
  }
}
