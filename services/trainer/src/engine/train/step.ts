import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import { type AdamW, accumulate, clipScale, globalNorm } from '@landfall/graph/training/optimizer.ts';
import type { Sequence } from '@landfall/graph/training/packing.ts';
import type { StepResult } from '@landfall/graph/training/trainer.ts';

/** What computes a micro-batch's loss and gradients. */
export interface GradientSource {
  step(sequences: readonly Sequence[], parameters: ReadonlyMap<string, NamedTensor>): Promise<StepResult>;
}

/** What an optimiser step saw. */
export interface StepReport {
  /** Mean cross entropy of each micro-batch, nats. */
  losses: number[];
  /** Global gradient norm before clipping. */
  gradNorm: number;
}

/**
 * One optimiser step: gradients of each micro-batch's own mean loss, averaged; clipped to a global norm; AdamW.
 * When a loss or the norm is not a number, nothing is changed.
 */
export async function optimiserStep(
  source: GradientSource,
  batches: readonly (readonly Sequence[])[],
  parameters: ReadonlyMap<string, NamedTensor>,
  adam: AdamW,
  { learningRate, maxGradNorm }: { learningRate: number; maxGradNorm: number },
): Promise<StepReport> {
  const sum = new Map<string, Float32Array>();
  const losses: number[] = [];
  for (const batch of batches) {
    const { loss, gradients } = await source.step(batch, parameters);
    losses.push(loss);
    accumulate(sum, gradients, 1 / batches.length);
  }
  const gradNorm = globalNorm(sum);
  if (losses.every(Number.isFinite) && Number.isFinite(gradNorm)) {
    adam.step(parameters, sum, learningRate, clipScale(gradNorm, maxGradNorm));
  }
  return { losses, gradNorm };
}
