import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import type { LossScale } from '@landfall/graph/training/loss-scale.ts';
import { type AdamW, accumulate, clipScale, globalNorm } from '@landfall/graph/training/optimizer.ts';
import type { StepResult } from '@landfall/graph/training/trainer.ts';

/** What computes a micro-batch's loss and gradients. */
export interface GradientSource<Batch> {
  /** @param seed decides what dropout drops */
  step(
    batch: Batch,
    parameters: ReadonlyMap<string, NamedTensor>,
    seed: number,
    lossScale?: number,
  ): Promise<StepResult>;
}

export interface StepSettings {
  learningRate: number;
  /** Gradients are clipped to this global norm. */
  maxGradNorm: number;
  /** The seed of each micro-batch's dropout; 0 by default. */
  seedOf?(batch: number): number;
  /** For gradients in float16. */
  lossScale?: LossScale;
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
 * When a loss or the norm is not a number, nothing is changed. Where only float16 gradients overflow, they are computed
 * again with a smaller loss scale: no rows are passed over, as they would be where the step is left out.
 */
export async function optimiserStep<Batch>(
  source: GradientSource<Batch>,
  batches: readonly Batch[],
  parameters: ReadonlyMap<string, NamedTensor>,
  adam: AdamW,
  { learningRate, maxGradNorm, seedOf, lossScale }: StepSettings,
): Promise<StepReport> {
  const { losses, sum, gradNorm } = await gradients();
  if (losses.every(Number.isFinite) && Number.isFinite(gradNorm)) {
    adam.step(parameters, sum, learningRate, clipScale(gradNorm, maxGradNorm));
  }
  return { losses, gradNorm };

  async function gradients() {
    for (;;) {
      const found = await gradientsOnce();
      const overflows = found.losses.every(Number.isFinite) && !Number.isFinite(found.gradNorm);
      if (!lossScale?.update(overflows)) return found;
    }
  }

  async function gradientsOnce() {
    let sum = new Map<string, Float32Array>();
    const losses: number[] = [];
    for (const [i, batch] of batches.entries()) {
      const { loss, gradients } = await source.step(
        batch,
        parameters,
        seedOf?.(i) ?? 0,
        lossScale?.state.scale,
      );
      losses.push(loss);
      // One micro-batch's gradients are the sum: with all parameters training, a copy would be as large as the model.
      if (batches.length === 1) sum = gradients;
      else accumulate(sum, gradients, 1 / batches.length);
    }
    return { losses, sum, gradNorm: globalNorm(sum) };
  }
}
