import { type BackoffLimits, backoffMs } from './backoff.ts';

/** The history of a place in a replica set. */
interface Slot {
  /** Deaths in a row, of short lives only. */
  failures: number;
  notBeforeMs: number;
  restarts: number;
}

/** What is remembered of the places of a replica set beyond the lives of the replicas in them. */
export class Slots {
  readonly #slots = new Map<number, Slot>();
  readonly #limits: BackoffLimits;
  readonly #stableMs: number;

  /** @param stableMs a replica that served for this long and ends is no failure of its place */
  constructor(limits: BackoffLimits, stableMs: number) {
    this.#limits = limits;
    this.#stableMs = stableMs;
  }

  /** When a place may be filled again, in milliseconds since 1970. */
  notBeforeMs(slot: number): number {
    return this.#slots.get(slot)?.notBeforeMs ?? 0;
  }

  restarts(slot: number): number {
    return this.#get(slot).restarts;
  }

  /** A replica that was started `restarts` times anew is in the place, or was. */
  filled(slot: number, restarts: number): void {
    this.#get(slot).restarts = restarts;
  }

  /**
   * The replica in a place has ended, or could not be started.
   * @param servedMs how long it answered
   * @returns failures in a row
   */
  failed(slot: number, servedMs: number): number {
    const history = this.#get(slot);
    history.failures = servedMs >= this.#stableMs ? 1 : history.failures + 1;
    history.notBeforeMs = Date.now() + backoffMs(history.failures, this.#limits);
    return history.failures;
  }

  #get(slot: number): Slot {
    let history = this.#slots.get(slot);
    if (!history) {
      history = { failures: 0, notBeforeMs: 0, restarts: 0 };
      this.#slots.set(slot, history);
    }
    return history;
  }
}
