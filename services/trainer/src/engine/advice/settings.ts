import type { ModelConfig } from '@landfall/graph/models/config.ts';
import type { MethodName } from './choose-method.ts';

/** Defaults of a method where nothing else is asked for. */
export const DEFAULTS = {
  rank: 16,
  /** lora_alpha is this many times the rank. */
  alphaFactor: 2,
  targetModules: ['all-linear'],
  numVirtualTokens: 16,
  /** The share of a model's layers that train where the others are frozen. */
  layerShare: 1 / 4,
  batchSize: 16,
  maxGradNorm: 1,
} as const;

/** Rows that an epoch shows, in all epochs together: few rows are shown more often. */
const ROWS_SHOWN = 6000;
const MIN_EPOCHS = 3;
const MAX_EPOCHS = 20;

/** Epochs for so many rows. */
export function advisedEpochs(rows: number): number {
  return Math.min(MAX_EPOCHS, Math.max(MIN_EPOCHS, Math.round(ROWS_SHOWN / Math.max(1, rows))));
}

/** Steps of warm-up: a twentieth of the run. */
export function advisedWarmup(totalSteps: number): number {
  return Math.round(totalSteps / 20);
}

/**
 * Peak learning rate by the model's width; wider models want smaller steps. Adapters: 3e-4 at 4,096, 1.3e-3 at 1,024,
 * and never more than 5e-3, where a model of 256 learnt a small data set in 20 epochs and a rate of 2e-3 did not. A
 * model's own weights: 2e-5 at 4,096. Prefixes begin at random and want more.
 */
export function advisedLearningRate(method: MethodName, { hiddenSize }: ModelConfig): number {
  switch (method) {
    case 'lora':
    case 'qlora':
      return Math.min(5e-3, 1.28 / hiddenSize);
    case 'ptuning_v2':
      return Math.min(3e-2, 10 / hiddenSize);
    case 'frozen':
      return Math.min(1e-3, 0.16 / hiddenSize);
    case 'full':
      return Math.min(1e-3, 0.08 / hiddenSize);
  }
}

/** Layers that train, counted from the top. */
export function advisedLayers({ layers }: ModelConfig): number {
  return Math.max(1, Math.round(layers * DEFAULTS.layerShare));
}
