import { leastLoaded, lessLoadedOfTwo } from './pick.ts';

/** Up to this many, all are looked at: measured with several callers and stale figures (`npm run bench -- balance`). */
export const SCAN_UP_TO = 8;
/** What a request waits for an adapter that its replica has yet to fetch and load, as a rule. */
const ADAPTER_LOAD_MS = 2000;

/** What decides among replicas for one request. */
export interface Traits<T> {
  /** Milliseconds until it would have answered, its model loaded; see expectedMs. */
  cost: (candidate: T) => number;
  /** Whether it has the model's adapter in memory. */
  holds: (candidate: T) => boolean;
  /** Whether it has computed a beginning of the prompt. */
  caches: (candidate: T) => boolean;
}

/**
 * The replica that would answer first, of all where they are few. Of many, two at random are compared, and two each of
 * those that have the adapter or a beginning of the prompt: few have them, and two of all would seldom meet one.
 * @param random uniform in [0, 1)
 * @returns undefined for no candidates
 */
export function chooseReplica<T>(
  candidates: readonly T[],
  { cost, holds, caches }: Traits<T>,
  random: () => number = Math.random,
  scanUpTo = SCAN_UP_TO,
): T | undefined {
  // Any replica of the base can answer for an adapter, but one that has to load it first answers later.
  const total = (each: T) => cost(each) + (holds(each) ? 0 : ADAPTER_LOAD_MS);
  if (candidates.length <= scanUpTo) return leastLoaded(candidates, total, random);
  const best = [candidates, candidates.filter(holds), candidates.filter(caches)].map((some) =>
    lessLoadedOfTwo(some, total, random),
  );
  return leastLoaded(
    best.filter((each) => each !== undefined),
    total,
    random,
  );
}
