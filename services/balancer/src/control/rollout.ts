/** How replicas of one set give way to those of another. */
export interface RolloutStrategy {
  /** Replicas beyond those wanted; 0 means 1 where none may be missing either. */
  maxSurge: number;
  /** Replicas that may be missing. */
  maxUnavailable: number;
}

export interface Rollout extends RolloutStrategy {
  /** Replicas that the deployment wants. */
  wanted: number;
  paused: boolean;
  /** Replicas of the new set that run, and those of them that answer. */
  nextRunning: number;
  nextReady: number;
}

/** Replicas of the new set that must answer before it takes over. */
export function takesOverAt(wanted: number, maxUnavailable: number): number {
  return wanted === 0 ? 0 : Math.max(1, wanted - maxUnavailable);
}

/**
 * How many replicas each of the two sets is to have now. The old one gives up a replica for each new one that answers,
 * and for each that may be missing, but keeps its last one until the new set takes over; the new one gets what is left
 * of the wanted and the surge. A rollout that is held starts none and ends only as many as have been replaced.
 */
export function rolloutTargets(rollout: Rollout): { current: number; next: number } {
  const { wanted, maxUnavailable, paused, nextRunning, nextReady } = rollout;
  if (wanted === 0) return { current: 0, next: 0 };
  const replaced = Math.min(nextReady, wanted);
  if (paused) return { current: Math.max(1, wanted - replaced), next: Math.min(nextRunning, wanted) };
  const surge = rollout.maxSurge === 0 && maxUnavailable === 0 ? 1 : rollout.maxSurge;
  const last = maxUnavailable >= wanted ? 0 : 1;
  const current = Math.max(last, wanted - maxUnavailable - replaced);
  return { current, next: Math.min(wanted, wanted + surge - current) };
}

/** Percent of the calls that the new set gets while both answer. */
export function rolloutShare(currentReady: number, nextReady: number): number {
  return nextReady === 0 ? 0 : (100 * nextReady) / (nextReady + currentReady);
}

/** Replicas that a canary with a set of its own is to have. */
export function canaryReplicas(wanted: number, weightPercent: number): number {
  return wanted === 0 ? 0 : Math.max(1, Math.ceil((wanted * weightPercent) / 100));
}
