import type { NamedTensor } from '@landfall/graph/checkpoint/safetensors.ts';
import type { AdamWOptions } from '@landfall/graph/training/optimizer.ts';
import type { StepResult } from '@landfall/graph/training/trainer.ts';
import type { TrainingError } from './errors.ts';

/** Loss and gradients of a micro-batch at the given parameters. @param seed decides what dropout drops */
export type MicroBatch = (
  parameters: ReadonlyMap<string, NamedTensor>,
  seed: number,
  lossScale?: number,
) => Promise<StepResult>;

/** What an optimiser step is taken over. */
export interface StepBatches {
  batches: MicroBatch[];
  /** Tokens and rows of all of them. */
  tokens: number;
  rows: number;
}

/** A model with its data as a run trains them: a decoder, alone or with what it sees with, or a CLIP. */
export interface Trainee {
  /** Rows of its own, rows of earlier sets an epoch, and what was left out or cut, for people. */
  readonly data: { rows: number; replayed: number; issues: string };
  readonly counts: { trainable: number; total: number };
  readonly steps: number;
  readonly stepsPerEpoch: number;
  /** AdamW's constants, and which names do not decay. */
  readonly adam: Omit<AdamWOptions, 'weightDecay'>;
  readonly provider: 'cpu' | 'cuda';
  readonly precision: 'float32' | 'int8' | 'float16';
  /** Gradients want a loss scale. */
  readonly isHalf: boolean;
  /** What trains, as a run begins with it. @throws TrainingError for an earlier adapter that can't be gone on from */
  initial(): Map<string, NamedTensor>;
  /** @param step from 0; the same step has the same batches, whenever it is asked for */
  batchesOf(step: number): StepBatches;
  /** A micro-batch of the most memory, and what share of the run's work it is. */
  largest(): { batch: MicroBatch; share: number };
  /** Loss over the validation rows; absent where there are none. */
  validationLoss?(parameters: ReadonlyMap<string, NamedTensor>): Promise<number>;
  /** Keeps parameters within their bounds, after each step. */
  bound(parameters: ReadonlyMap<string, NamedTensor>): void;
  /** Why the first step came to nothing, where the base itself is the reason. */
  broken(): TrainingError | undefined;
  /** What needs less memory than the largest micro-batch, for people. */
  leaner(): string[];
  release(): Promise<void>;
}
