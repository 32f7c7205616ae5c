import type { Deployment, StateName } from '../db/entities.ts';

/** What a replica set has for a model. */
export interface Supply {
  /** Replicas that answer for the model, its adapter loaded. */
  ready: number;
  /** Replicas that run, answering or not. */
  running: number;
  /** What stands in the way, for people; empty for nothing known. */
  problem: string;
}

export interface DeploymentStatus {
  model: string;
  base: string;
  nextModel: string;
  nextBase: string;
  readyReplicas: number;
  state: StateName;
  wasReady: boolean;
  message: string;
}

/**
 * Where a deployment is, from what its replica sets have. A new model takes over once as many replicas answer for it
 * as are wanted; until then the old one serves.
 * @param next what the set of the new model has, where there is one
 */
export function deploymentStatus(
  deployment: Deployment,
  current: Supply,
  next: Supply | undefined,
): DeploymentStatus {
  const { replicas, nextModel, nextBase, wasReady } = deployment;
  if (nextModel && next) {
    if (next.ready >= replicas) {
      const switched = { ...deployment, model: nextModel, base: nextBase, nextModel: '', nextBase: '' };
      return deploymentStatus(switched, next, undefined);
    }
    const left = next.problem || missing(next.ready, replicas);
    return {
      ...pick(deployment),
      readyReplicas: current.ready,
      state: 'progressing',
      wasReady,
      message: `${nextModel} is being brought up and takes over when it answers: ${left}`,
    };
  }
  const readyReplicas = current.ready;
  if (readyReplicas >= replicas) {
    return { ...pick(deployment), readyReplicas, state: 'ready', wasReady: true, message: '' };
  }
  const message = current.problem || missing(readyReplicas, replicas);
  const state = wasReady ? 'degraded' : 'progressing';
  return { ...pick(deployment), readyReplicas, state, wasReady, message };
}

const missing = (ready: number, wanted: number) => `${ready} of ${wanted} replicas answer`;

const pick = ({ model, base, nextModel, nextBase }: Deployment) => ({ model, base, nextModel, nextBase });

/** Whether anything differs that people or events are told. */
export function statusDiffers(deployment: Deployment, status: DeploymentStatus): boolean {
  return (Object.keys(status) as (keyof DeploymentStatus)[]).some((key) => status[key] !== deployment[key]);
}
