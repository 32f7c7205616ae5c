/** Sums over a window that moves in halves: between half of it and all of it is remembered. */
const HALF_MS = 10_000;
/** Waits that are remembered, the newest. */
const KEPT_WAITS = 128;
/** Waits that end closer together count once. */
const APART_MS = 25;

interface Half {
  startMs: number;
  calls: number;
  errors: number;
}

/** What one endpoint has shown lately. */
export interface Sums {
  calls: number;
  errors: number;
  waits: number;
  /** Lower quartile of its waits, each by what is usual for its kind. */
  pace: number;
  /** Lower quartile of its waits. */
  paceMs: number;
}

/** How many calls of one endpoint failed, and how long it lets wait at its better moments. */
export class PaceWindow {
  #now: Half = half(0);
  #before: Half = half(0);
  #waits: { ms: number; relative: number; atMs: number }[] = [];

  ended(failed: boolean, nowMs: number): void {
    this.#move(nowMs);
    this.#now.calls++;
    if (failed) this.#now.errors++;
  }

  /** @param relative the wait by what is usual for its kind */
  waited(ms: number, relative: number, nowMs: number): void {
    // Requests of one batch hear of the same step.
    const last = this.#waits.at(-1);
    if (last && nowMs - last.atMs < APART_MS) return;
    this.#waits.push({ ms, relative, atMs: nowMs });
    if (this.#waits.length > 2 * KEPT_WAITS) this.#waits = this.#waits.slice(-KEPT_WAITS);
  }

  sums(nowMs: number): Sums {
    this.#move(nowMs);
    const waits = this.#waits.slice(-KEPT_WAITS).filter(({ atMs }) => nowMs - atMs < 2 * HALF_MS);
    return {
      calls: this.#now.calls + this.#before.calls,
      errors: this.#now.errors + this.#before.errors,
      waits: waits.length,
      // Its better moments tell how fast it is; the others, which prompts it computes beside.
      pace: lowerQuartile(waits.map(({ relative }) => relative)),
      paceMs: lowerQuartile(waits.map(({ ms }) => ms)),
    };
  }

  clear(): void {
    this.#now = half(0);
    this.#before = half(0);
    this.#waits = [];
  }

  #move(nowMs: number): void {
    const ageMs = nowMs - this.#now.startMs;
    if (ageMs < HALF_MS) return;
    this.#before = ageMs < 2 * HALF_MS ? this.#now : half(0);
    this.#now = half(nowMs);
  }
}

function half(startMs: number): Half {
  return { startMs, calls: 0, errors: 0 };
}

/** 0 for none. */
function lowerQuartile(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 4)] ?? 0;
}

/** What is usual for each kind of wait, over all endpoints: an exponentially weighted mean. */
export class UsualWaits {
  readonly #means = new Map<string, number>();

  /** @returns the wait by what was usual before it */
  relative(kind: string, ms: number): number {
    const mean = this.#means.get(kind);
    const known = Math.max(0.1, ms);
    if (mean === undefined) {
      this.#means.set(kind, known);
      return 1;
    }
    this.#means.set(kind, mean + (known - mean) * 0.02);
    return known / mean;
  }
}
