/** A replica as the plan sees it. */
export interface PlannedReplica {
  id: string;
  slot: number;
  ready: boolean;
  draining: boolean;
  /** It is to be replaced: it serves until enough others do, or ends at once. */
  retiring?: 'replaced' | 'urgent' | undefined;
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
 * to end (those that don't answer first, then the highest places). One that is to be replaced leaves its place to
 * another, and ends when that answers.
 * @param notBeforeMs when a place may be filled again
 */
export function planReplicas(
  wanted: number,
  replicas: readonly PlannedReplica[],
  notBeforeMs: (slot: number) => number,
  nowMs: number,
): Plan {
  const kept = replicas.filter((replica) => !replica.draining && !replica.retiring);
  const drain = replicas.filter(leaves(wanted, replicas)).map(({ id }) => id);
  if (kept.length > wanted) {
    const surplus = [...kept].sort(leastUseful).slice(0, kept.length - wanted);
    drain.push(...surplus.map(({ id }) => id));
    return { start: [], drain, nextMs: Number.POSITIVE_INFINITY };
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
  return { start, drain, nextMs };
}

const leastUseful = (a: PlannedReplica, b: PlannedReplica) =>
  Number(a.ready) - Number(b.ready) || b.slot - a.slot;

/** Which of those that are to be replaced end now: the urgent, those that don't answer, and as many as others answer. */
function leaves(wanted: number, replicas: readonly PlannedReplica[]): (replica: PlannedReplica) => boolean {
  const running = replicas.filter(({ draining }) => !draining);
  const answering = running.filter(({ ready, retiring }) => ready && !retiring).length;
  const leaving = running.filter(({ retiring }) => retiring);
  const serving = leaving.filter(({ ready, retiring }) => ready && retiring === 'replaced');
  const surplus = Math.max(0, Math.min(serving.length, answering + serving.length - wanted));
  const ends = new Set([
    ...leaving.filter((replica) => !serving.includes(replica)),
    ...[...serving].sort(leastUseful).slice(0, surplus),
  ]);
  return (replica) => ends.has(replica);
}
