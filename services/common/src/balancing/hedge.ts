import { setTimeout as delay } from 'node:timers/promises';

const KEPT = 100;
/** Answers of a method from which a usual time can be told. */
const LEAST = 20;
const SHARE = 0.95;

/** How long calls of each method took lately, so that one that takes longer than nearly all can be hedged. */
export class CallTimes {
  readonly #times = new Map<string, number[]>();

  add(method: string, ms: number): void {
    const times = this.#times.get(method) ?? [];
    times.push(ms);
    if (times.length > KEPT) times.shift();
    this.#times.set(method, times);
  }

  /** Their 95th percentile; undefined while too few are known. */
  hedgeAfterMs(method: string): number | undefined {
    const times = this.#times.get(method);
    if (!times || times.length < LEAST) return undefined;
    return [...times].sort((a, b) => a - b)[Math.floor(SHARE * times.length)];
  }
}

/**
 * The first answer of a call and of the same call made once more when the first takes long (Dean and Barroso, "The tail
 * at scale", 2013). The other one is cancelled. An error of the first before that time is the call's.
 * @param sent resolves when the first is with a replica: the time runs from there
 * @param mayHedge asked when the time has come
 * @throws what the first attempt throws, when both fail
 */
export async function hedged<T>(
  call: (signal: AbortSignal) => Promise<T>,
  afterMs: number,
  sent: Promise<void>,
  mayHedge: () => boolean,
): Promise<T> {
  const over = new AbortController();
  try {
    const first = call(over.signal);
    const late = sent.then(() => delay(afterMs, undefined, { signal: over.signal })).catch(() => {});
    const early = await Promise.race([first.then((reply) => ({ reply })), late]);
    if (early) return early.reply;
    if (!mayHedge()) return await first;
    const second = call(over.signal);
    return await Promise.any([first, second]).catch(() => first);
  } finally {
    over.abort();
  }
}
