/** A run's settings, every one decided. */
export interface RunSettings {
  rank: number;
  loraAlpha: number;
  loraDropout: number;
  targetModules: string[];
  learningRate: number;
  epochs: number;
  batchSize: number;
  gradientAccumulationSteps: number;
  warmupSteps: number;
  weightDecay: number;
  maxGradNorm: number;
  maxLength: number;
}

/** Defaults of LoRA where nothing else is asked for. */
export const LORA_DEFAULTS = {
  rank: 16,
  /** lora_alpha is this many times the rank. */
  alphaFactor: 2,
  targetModules: ['all-linear'],
  learningRate: 1e-3,
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
