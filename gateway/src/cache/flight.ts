import { randomUUID } from 'node:crypto';
import { ConnectError } from '@connectrpc/connect';
import { abortError } from '@landfall/common/balancing/endpoint-set.ts';

/** Connect says itself when a call's time is over. */
const goneError = (signal: AbortSignal): unknown =>
  signal.reason instanceof ConnectError ? signal.reason : abortError(signal);

/** One call that reads an answer while it is made. */
interface Follower {
  /** Number of the next part. */
  at: number;
  wake: () => void;
}

export interface FlightOptions<M> {
  /** Begins the work; the signal fires when nobody reads it any more. */
  start(signal: AbortSignal): AsyncIterable<M>;
  /** Bytes that a part takes. */
  sizeOf(part: M): number;
  /** Beyond so many bytes an answer is not kept, and nobody joins any more. */
  mostBytes: number;
  /** Told once when the work is over; parts are undefined where it failed or is too large. */
  ended(parts: readonly M[] | undefined): void;
}

/**
 * An answer on its way to all that have asked for the same. It is read as fast as the fastest of them reads; whoever
 * leaves takes nothing from the others, and when the last one leaves the work stops.
 */
export class Flight<M> {
  /** Of the answer. */
  readonly answer = { id: randomUUID(), createdMs: Date.now() };
  readonly #options: FlightOptions<M>;
  readonly #stopping = new AbortController();
  readonly #followers = new Set<Follower>();
  #iterator: AsyncIterator<M> | undefined;
  #parts: M[] = [];
  /** Number of the first part that is still here. */
  #first = 0;
  /** Parts that someone has read: their cost is told to whoever reads them first. */
  #read = 0;
  #bytes = 0;
  #pulling = false;
  #over: { failed: boolean; cause?: unknown } | undefined;

  constructor(options: FlightOptions<M>) {
    this.#options = options;
  }

  /** Whether one who comes now still gets all of it. */
  get isOpen(): boolean {
    return !this.#over?.failed && !this.#isTooLarge;
  }

  /** Whether all of it is there. */
  get isComplete(): boolean {
    return this.#over?.failed === false;
  }

  /**
   * All parts, from the first.
   * @param signal of the call that reads
   * @param cost told of each part that nobody has read before
   */
  async *follow(signal: AbortSignal, cost: (part: M) => void): AsyncGenerator<M> {
    const follower: Follower = { at: 0, wake: () => {} };
    const gone = () => follower.wake();
    signal.addEventListener('abort', gone);
    this.#followers.add(follower);
    try {
      for (;;) {
        if (signal.aborted) throw goneError(signal);
        if (follower.at < this.#first + this.#parts.length) {
          const part = this.#parts[follower.at - this.#first]!;
          follower.at += 1;
          if (follower.at > this.#read) {
            this.#read = follower.at;
            cost(part);
          }
          this.#forget();
          yield part;
        } else if (this.#over) {
          if (this.#over.failed) throw this.#over.cause;
          return;
        } else {
          const woken = new Promise<void>((resolve) => {
            follower.wake = resolve;
          });
          this.#pull();
          await woken;
        }
      }
    } finally {
      signal.removeEventListener('abort', gone);
      this.#followers.delete(follower);
      if (this.#followers.size === 0 && !this.#over) this.#abandon();
    }
  }

  get #isTooLarge(): boolean {
    return this.#bytes > this.#options.mostBytes;
  }

  /** Fetches the next part, once for all who wait for it. */
  #pull(): void {
    if (this.#pulling) return;
    this.#pulling = true;
    void this.#next().then(
      () => this.#wakeAll(),
      (cause) => {
        this.#end({ failed: true, cause });
        this.#wakeAll();
      },
    );
  }

  async #next(): Promise<void> {
    this.#iterator ??= this.#options.start(this.#stopping.signal)[Symbol.asyncIterator]();
    const { done, value } = await this.#iterator.next();
    if (done) {
      this.#end({ failed: false });
      return;
    }
    this.#parts.push(value);
    this.#bytes += this.#options.sizeOf(value);
  }

  #wakeAll(): void {
    this.#pulling = false;
    for (const { wake } of this.#followers) wake();
  }

  /** What is too large to be kept is held only for those who have not read it. */
  #forget(): void {
    if (!this.#isTooLarge) return;
    const least = Math.min(...[...this.#followers].map(({ at }) => at));
    const behind = least - this.#first;
    if (behind < 64) return;
    this.#parts = this.#parts.slice(behind);
    this.#first = least;
  }

  #end(over: { failed: boolean; cause?: unknown }): void {
    if (this.#over) return;
    this.#over = over;
    this.#options.ended(over.failed || this.#isTooLarge ? undefined : this.#parts);
  }

  #abandon(): void {
    this.#stopping.abort();
    this.#end({ failed: true, cause: abortError(this.#stopping.signal) });
    void Promise.resolve(this.#iterator?.return?.()).catch(() => {});
  }
}
