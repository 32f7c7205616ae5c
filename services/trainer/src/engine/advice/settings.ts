/** Defaults of LoRA where nothing else is asked for. */
export const LORA_DEFAULTS = {
  rank: 16,
  /** lora_alpha is this many times the rank. */
  alphaFactor: 2,
  targetModules: ['all-linear'],
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
 * Peak learning rate of LoRA by the model's width. Wider models want smaller steps: 3e-4 at 4,096, 1.3e-3 at 1,024,
 * and never more than 5e-3, where a model of 256 learnt a small data set in 20 epochs and a rate of 2e-3 did not.
 */
export function advisedLearningRate(hiddenSize: number): number {
  return Math.min(5e-3, 1.28 / hiddenSize);
}
