import { permutation, randomOf } from '@landfall/metrics/random.ts';

// Which rows a micro-batch holds is a function of the run's seed and the micro-batch's number, so a run that is
// resumed at any step goes on with the same rows, and no sampler state is kept.

/** The shape of a run. */
export interface Plan {
  rows: number;
  epochs: number;
  /** Rows a micro-batch; the last one of an epoch may hold fewer. */
  batchSize: number;
  gradientAccumulationSteps: number;
  seed: bigint;
}

/** Micro-batches an epoch. */
export function batchesPerEpoch(plan: Plan): number {
  return Math.ceil(plan.rows / plan.batchSize);
}

/** Optimiser steps an epoch: an epoch's last step may accumulate fewer micro-batches. */
export function stepsPerEpoch(plan: Plan): number {
  return Math.ceil(batchesPerEpoch(plan) / plan.gradientAccumulationSteps);
}

/** Optimiser steps in all. */
export function totalSteps(plan: Plan): number {
  return stepsPerEpoch(plan) * plan.epochs;
}

/** Epochs done after this many steps, as a fraction. */
export function epochAt(plan: Plan, step: number): number {
  return step / stepsPerEpoch(plan);
}

/**
 * The micro-batches of a step.
 *
 * @param step from 0
 * @returns per micro-batch, indices of rows
 */
export function batchesOfStep(plan: Plan, step: number): { epoch: number; batches: Uint32Array[] } {
  const perEpoch = stepsPerEpoch(plan);
  const epoch = Math.floor(step / perEpoch);
  const order = orderOf(plan, epoch);
  const first = (step % perEpoch) * plan.gradientAccumulationSteps;
  const last = Math.min(first + plan.gradientAccumulationSteps, batchesPerEpoch(plan));
  const batches: Uint32Array[] = [];
  for (let batch = first; batch < last; batch++) {
    batches.push(order.slice(batch * plan.batchSize, (batch + 1) * plan.batchSize));
  }
  return { epoch, batches };
}

/** The template that a row takes in an epoch: one by the seed, the next one each epoch. */
export function templateOf(seed: bigint, templates: number, row: number, epoch: number): number {
  if (templates === 1) return 0;
  const first = Math.floor(randomOf(seed, 'template', row)() * templates);
  return (first + epoch) % templates;
}

function orderOf(plan: Plan, epoch: number): Uint32Array {
  return permutation(plan.rows, randomOf(plan.seed, 'shuffle', epoch));
}
