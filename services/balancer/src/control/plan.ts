/** A replica as the plan sees it. */
export interface PlannedReplica {
  id: string;
  slot: number;
  ready: boolean;
  draining: boolean;
}

export interface Plan {
  /** Places to start a replica in now. */
  start: number[];
  /** Replicas to drain. */
  drain: string[];
  /** When a place that has to wait may be filled; Infinity for none. Milliseconds since 1970. */
  nextMs: number;
}

/**
 * What is to be done so that `wanted` replicas run: which places to fill (those whose pause is over), which replicas
 * to end (those that don't answer first, then the highest places).
 * @param notBeforeMs when a place may be filled again
 */
export function planReplicas(
  wanted: number,
  replicas: readonly PlannedReplica[],
  notBeforeMs: (slot: number) => number,
  nowMs: number,
): Plan {
  const kept = replicas.filter((replica) => !replica.draining);
  if (kept.length > wanted) {
    const order = [...kept].sort((a, b) => Number(a.ready) - Number(b.ready) || b.slot - a.slot);
    return {
      start: [],
      drain: order.slice(0, kept.length - wanted).map(({ id }) => id),
      nextMs: Number.POSITIVE_INFINITY,
    };
  }
  const taken = new Set(kept.map(({ slot }) => slot));
  const start: number[] = [];
  let nextMs = Number.POSITIVE_INFINITY;
  for (let slot = 0, missing = wanted - kept.length; missing > 0; slot++) {
    if (taken.has(slot)) continue;
    missing--;
    const whenMs = notBeforeMs(slot);
    if (whenMs <= nowMs) start.push(slot);
    else nextMs = Math.min(nextMs, whenMs);
  }
  return { start, drain: [], nextMs };
}
