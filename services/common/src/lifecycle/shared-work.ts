import { cancelled, deadlineExceeded } from '../errors/errors.ts';
import { unlessAborted } from './unless-aborted.ts';

/** One piece of work, by the signal that ends it. */
export type Work<T> = (signal: AbortSignal) => Promise<T>;

export interface SharedWorkOptions {
  /** For people: what is done. */
  name: string;
  /**
   * Whether a failure is of the caller in whose name the work was begun, such as missing rights: then whoever has
   * joined begins it anew in their own. By default every failure is of the work.
   */
  isOfCaller?: (error: unknown) => boolean;
}

interface Running<T> {
  readonly result: Promise<T>;
  readonly stop: AbortController;
  waiting: number;
  over: boolean;
}

/** setTimeout fires at once beyond it. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Work that several callers wait for is done once. It belongs to none of them: one who leaves, or whose time is over,
 * takes nothing from the others, and only when the last one has left does its signal fire. Whoever comes after that
 * begins anew. It is given a signal
 * of its own, and must not use its caller's.
 */
export class SharedWork<T> {
  readonly #options: SharedWorkOptions;
  readonly #running = new Map<string, Running<T>>();

  constructor(options: SharedWorkOptions) {
    this.#options = options;
  }

  /**
   * The result of the work under this key: of one that is under way, or of this one.
   * @param signal of the caller
   * @param timeoutMs how long the work may take, whoever waits for it
   * @throws the signal's reason where it fires; LandfallError DEADLINE_EXCEEDED after `timeoutMs`; what the work throws
   */
  async do(key: string, signal: AbortSignal, timeoutMs: number, work: Work<T>): Promise<T> {
    for (;;) {
      signal.throwIfAborted();
      const known = this.#running.get(key);
      try {
        return await this.#wait(key, known ?? this.#begin(key, timeoutMs, work), signal);
      } catch (error) {
        const isTheirs = known !== undefined && this.#options.isOfCaller?.(error) === true;
        if (!isTheirs || signal.aborted) throw error;
      }
    }
  }

  #begin(key: string, timeoutMs: number, work: Work<T>): Running<T> {
    const stop = new AbortController();
    const { name } = this.#options;
    const late = () => stop.abort(deadlineExceeded(`${name} took longer than ${timeoutMs / 1000} s`));
    const timer = setTimeout(late, Math.min(timeoutMs, LONGEST_TIMER_MS)).unref();
    const result = unlessAborted(work(stop.signal), stop.signal).finally(() => {
      clearTimeout(timer);
      running.over = true;
      this.#forget(key, running);
    });
    const running: Running<T> = { result, stop, waiting: 0, over: false };
    this.#running.set(key, running);
    return running;
  }

  async #wait(key: string, running: Running<T>, signal: AbortSignal): Promise<T> {
    running.waiting++;
    try {
      return await unlessAborted(running.result, signal);
    } finally {
      running.waiting--;
      if (running.waiting === 0) {
        // In this order: whoever comes now must not join what ends.
        this.#forget(key, running);
        if (!running.over) running.stop.abort(cancelled('nobody waits for it any more'));
      }
    }
  }

  #forget(key: string, running: Running<T>): void {
    if (this.#running.get(key) === running) this.#running.delete(key);
  }
}
