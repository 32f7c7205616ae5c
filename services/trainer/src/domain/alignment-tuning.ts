import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { TrainingConfig } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { ALIGNMENT_METHODS, type AlignmentMethod, chooseAlignment } from '../engine/advice/align-settings.ts';
import {
  type AlignmentPlan,
  estimateAlignment,
  whatFitsAlignment,
} from '../engine/advice/estimate-alignment.ts';
import { keysOf, someApart } from '../engine/align/pairs.ts';
import { type DataSize, forGoal, guessTokens } from './advise.ts';
import { advisedAlignment, alignmentSpec, completeAlignment } from './alignment-config.ts';
import type { ClipShape } from './base-model.ts';
import type { Tuning } from './tuning.ts';

/** Assumed of a caption where only a number of rows is given. */
const TYPICAL_TOKENS = 16;

/** How a CLIP is aligned. */
export function clipTuning(shape: ClipShape, base: Version): Tuning {
  const { clip } = shape;
  const figuresOf = ({ rows, labels = new Map(), unlabelled = 0 }: DataSize) => ({
    ...{ rows, labels, unlabelled },
  });
  const planOf = (
    method: AlignmentMethod,
    config: TrainingConfig,
    data: DataSize,
    threads: number,
  ): AlignmentPlan => ({
    config: clip,
    spec: alignmentSpec(method, config).clip,
    batchSize: Math.min(config.batchSize, data.rows),
    parts: config.gradientAccumulationSteps,
    epochs: config.epochs,
    rows: data.rows,
    tokensPerRow: Math.min(data.tokensPerRow, config.maxLength),
    longestRow: Math.min(data.longestRow, config.maxLength),
    threads,
  });
  return {
    shape,
    requireReadable(train, { examples }) {
      const other = examples.find(({ pair }) => !pair);
      if (other)
        throw failedPrecondition(
          `${train.ref}: row ${other.row} is no image with its caption, and ${base.ref} is a CLIP: it is aligned on ` +
            'rows of image and caption',
        );
      if (!someApart(examples.map(keysOf)))
        throw failedPrecondition(
          `${train.ref}: no two rows differ in image, caption and label: there is nothing to tell apart`,
          { reason: 'BAD_ROWS' },
        );
    },
    sizeOf(examples) {
      const tokens = examples.map(({ answer }) => Math.ceil(guessTokens(answer)) + 2);
      const labels = new Map<string, number>();
      for (const { pair } of examples)
        if (pair?.label) labels.set(pair.label, (labels.get(pair.label) ?? 0) + 1);
      return {
        rows: examples.length,
        tokensPerRow: Math.ceil(tokens.reduce((sum, count) => sum + count, 0) / examples.length),
        longestRow: tokens.reduce((most, count) => Math.max(most, count), 0),
        imagesPerRow: 1,
        labels,
        unlabelled: examples.find(({ pair }) => !pair?.label)?.row ?? 0,
      };
    },
    typical: (rows) => ({
      ...{ rows, tokensPerRow: TYPICAL_TOKENS, longestRow: 2 * TYPICAL_TOKENS, imagesPerRow: 1 },
      unlabelled: 1,
    }),
    advise(data, { memoryBytes, threads, goal }) {
      const options = ALIGNMENT_METHODS.map((method) => {
        const config = forGoal(advisedAlignment(method, clip, figuresOf(data)), goal);
        return { method, config, estimate: estimateAlignment(planOf(method, config, data, threads)) };
      });
      const needs = Object.fromEntries(options.map(({ method, estimate }) => [method, estimate.memoryBytes]));
      const chosen = chooseAlignment(data.rows, memoryBytes, needs as Record<AlignmentMethod, number>);
      return { ...chosen, options };
    },
    complete: (method, given, data) => completeAlignment(method, clip, given, figuresOf(data)),
    estimate: (method, config, data, threads) =>
      estimateAlignment(planOf(method as AlignmentMethod, config, data, threads)),
    smaller: (method, config, data, threads, limit) =>
      whatFitsAlignment(planOf(method as AlignmentMethod, config, data, threads), limit),
  };
}
