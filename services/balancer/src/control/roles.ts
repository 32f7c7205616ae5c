import type { Deployment } from '../db/entities.ts';
import type { Served } from '../domain/resolve.ts';
import { canaryReplicas, rolloutShare, rolloutTargets } from './rollout.ts';
import type { Supply } from './status.ts';

/** A model that a deployment has served, and how many replicas it wants for that. */
export interface ServingRole extends Served {
  replicas: number;
}

/** What gets a share of a deployment's calls beside its model. */
export interface Share extends Served {
  weightPercent: number;
}

const isSameSet = (a: Served, b: Served) => a.base === b.base && a.variant === b.variant;

export function nextOf({ nextModel, nextBase, nextVariant }: Deployment): Served | undefined {
  return nextModel ? { model: nextModel, base: nextBase, variant: nextVariant } : undefined;
}

/** A canary's replicas have the settings of the stable ones, so that only the model is compared. */
export function canaryOf({ canaryModel, canaryBase, variant }: Deployment): Served | undefined {
  return canaryModel ? { model: canaryModel, base: canaryBase, variant } : undefined;
}

/** Everything that a deployment wants replicas for: what it serves, what is on its way, what is tried. */
export function servedBy(row: Deployment): Served[] {
  const { model, base, variant } = row;
  return [{ model, base, variant }, nextOf(row), canaryOf(row)].filter((each) => each !== undefined);
}

/** How many replicas a deployment wants of each set now. */
export function rolesOf(row: Deployment, supply: (served: Served) => Supply): ServingRole[] {
  const { model, base, variant, replicas, canaryWeight } = row;
  const current = { model, base, variant, replicas };
  const roles: ServingRole[] = [current];
  const next = nextOf(row);
  if (next && isSameSet(next, row)) roles.push({ ...next, replicas });
  else if (next) {
    const { running, ready } = supply(next);
    const targets = rolloutTargets({ ...row, wanted: replicas, nextRunning: running, nextReady: ready });
    current.replicas = targets.current;
    roles.push({ ...next, replicas: targets.next });
  }
  const canary = canaryOf(row);
  if (canary) {
    const own = isSameSet(canary, row) ? replicas : canaryReplicas(replicas, canaryWeight);
    roles.push({ ...canary, replicas: own });
  }
  return roles;
}

/** What gets a share of the calls, where something answers for it: the canary, or what a rollout brings up. */
export function shareOf(row: Deployment, supply: (served: Served) => Supply): Share | undefined {
  const canary = canaryOf(row);
  if (canary) {
    return supply(canary).ready > 0 ? { ...canary, weightPercent: row.canaryWeight } : undefined;
  }
  const next = nextOf(row);
  // An adapter of the same replicas takes over all at once, as soon as they hold it.
  if (!next || isSameSet(next, row)) return undefined;
  const weightPercent = rolloutShare(supply(row).ready, supply(next).ready);
  return weightPercent > 0 ? { ...next, weightPercent } : undefined;
}
