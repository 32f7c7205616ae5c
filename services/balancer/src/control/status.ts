import type { Deployment, StateName } from '../db/entities.ts';
import { takesOverAt } from './rollout.ts';

/** What a replica set has for a model. */
export interface Supply {
  /** Replicas that answer, whatever for. */
  answering: number;
  /** Replicas that answer for the model, its adapter loaded. */
  ready: number;
  /** Replicas that run, answering or not. */
  running: number;
  /** Replicas that are to hold the model; Infinity for all. */
  copies: number;
  /** What stands in the way, for people; empty for nothing known. */
  problem: string;
}

export type DeploymentStatus = Pick<
  Deployment,
  | 'model'
  | 'base'
  | 'variant'
  | 'nextModel'
  | 'nextBase'
  | 'nextVariant'
  | 'readyReplicas'
  | 'state'
  | 'wasReady'
  | 'message'
>;

/**
 * Where a deployment is, from what its replica sets have. A new model takes over once as many replicas answer for it
 * as its strategy asks for; until then the old one serves.
 * @param next what the set of the new model has, where there is one
 */
export function deploymentStatus(
  deployment: Deployment,
  current: Supply,
  next: Supply | undefined,
): DeploymentStatus {
  const { replicas, nextModel, nextBase, nextVariant, wasReady, maxUnavailable, paused } = deployment;
  if (nextModel && next) {
    const copies = replicas > 0 ? Math.max(1, next.copies) : 0;
    const enough = Math.min(takesOverAt(replicas, maxUnavailable), copies);
    if (!paused && next.ready >= enough) {
      const taken = { model: nextModel, base: nextBase, variant: nextVariant };
      const switched = {
        ...deployment,
        ...taken,
        nextModel: '',
        nextBase: '',
        nextVariant: '',
        wasReady: false,
      };
      return deploymentStatus(switched, next, undefined);
    }
    const left = next.problem || missing(next.ready, replicas);
    const what = paused
      ? `${nextModel} is held on its way; ResumeDeployment lets it go on`
      : `${nextModel} is being brought up and takes over when it answers`;
    return {
      ...pick(deployment),
      readyReplicas: current.ready,
      state: 'progressing',
      wasReady,
      message: `${what}: ${left}`,
    };
  }
  const readyReplicas = replicas === 0 ? 0 : current.ready;
  if (isReady(replicas, current)) {
    const message = replicas === 0 ? 'it sleeps until a caller asks' : '';
    return { ...pick(deployment), readyReplicas, state: 'ready', wasReady: true, message };
  }
  const message = current.problem || missing(readyReplicas, replicas);
  const state: StateName = wasReady ? 'degraded' : 'progressing';
  return { ...pick(deployment), readyReplicas, state, wasReady, message };
}

/** As many replicas answer as are wanted, and those that are to hold the model do; 0 copies are never enough. */
function isReady(replicas: number, { answering, ready, copies }: Supply): boolean {
  if (replicas === 0) return true;
  return copies > 0 && answering >= replicas && ready >= Math.min(replicas, copies);
}

const missing = (ready: number, wanted: number) => `${ready} of ${wanted} replicas answer`;

const pick = ({ model, base, variant, nextModel, nextBase, nextVariant }: Deployment) => ({
  model,
  base,
  variant,
  nextModel,
  nextBase,
  nextVariant,
});

/** Whether anything differs that people or events are told. */
export function statusDiffers(deployment: Deployment, status: DeploymentStatus): boolean {
  return (Object.keys(status) as (keyof DeploymentStatus)[]).some((key) => status[key] !== deployment[key]);
}
