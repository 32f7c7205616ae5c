import { silent } from './openai-errors.ts';

/** How long an answer may take: as long as its caller waits, in all, and between any two signs of life. */
export class Patience implements Disposable {
  /** Fires when the caller leaves or patience ends. */
  readonly signal: AbortSignal;
  readonly #over = new AbortController();
  readonly #caller: AbortSignal;
  readonly #silenceMs: number;
  readonly #whole: NodeJS.Timeout;
  #silence: NodeJS.Timeout | undefined;

  constructor(caller: AbortSignal, limits: { silenceMs: number; answerMs: number }) {
    this.#caller = caller;
    this.#silenceMs = limits.silenceMs;
    this.signal = AbortSignal.any([caller, this.#over.signal]);
    this.#whole = setTimeout(() => this.#end(), limits.answerMs);
    this.heard();
  }

  /** A sign of life: the wait for the next one begins. */
  heard(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#end(), this.#silenceMs);
  }

  /** What a failure under this signal means: the caller's own leaving, the end of patience, or itself. */
  reason(failure: unknown): unknown {
    if (this.#caller.aborted) return this.#caller.reason;
    return this.#over.signal.aborted ? this.#over.signal.reason : failure;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#silence);
    clearTimeout(this.#whole);
    // Whatever still runs under the signal is of no use to anybody.
    this.#end();
  }

  #end(): void {
    this.#over.abort(silent());
  }
}
