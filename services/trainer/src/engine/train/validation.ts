import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import type { Sequence } from '@landfall/graph/training/packing.ts';
import type { TrainingGraph } from '@landfall/graph/training/trainer.ts';
import { IGNORE } from '../data/encode.ts';

/** What a look at the validation rows showed. */
export interface Look {
  /** Optimiser steps done. */
  step: number;
  epoch: number;
  /** Mean cross entropy of the answers' tokens, nats. */
  loss: number;
}

/** Mean cross entropy over all labels of these rows, nats a token; without dropout. */
export async function validationLoss(
  graph: TrainingGraph,
  rows: readonly Sequence[],
  parameters: ReadonlyMap<string, NamedTensor>,
  batchSize: number,
): Promise<number> {
  let sum = 0;
  let labels = 0;
  for (let at = 0; at < rows.length; at += batchSize) {
    const batch = rows.slice(at, at + batchSize);
    const count = batch.reduce((total, row) => total + labelsOf(row.labels), 0);
    sum += count * (await graph.loss(batch, parameters));
    labels += count;
  }
  return sum / labels;
}

/** The first token has none: nothing stands before it. */
function labelsOf(labels: ArrayLike<number>): number {
  let count = 0;
  for (let i = 1; i < labels.length; i++) if (labels[i] !== IGNORE) count++;
  return count;
}

/** The look with the lowest loss, the first of equals. */
export function bestLook(looks: readonly Look[]): Look | undefined {
  return looks.reduce<Look | undefined>(
    (best, look) => (best && best.loss <= look.loss ? best : look),
    undefined,
  );
}

/** Whether the loss has not fallen below its lowest in so many looks. 0 never says so. */
export function outOfPatience(looks: readonly Look[], patience: number): boolean {
  const best = bestLook(looks);
  return patience > 0 && best !== undefined && looks.length - 1 - looks.indexOf(best) >= patience;
}
