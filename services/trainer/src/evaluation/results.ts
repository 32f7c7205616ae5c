import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type EvaluationResult,
  EvaluationResultSchema,
  EvaluationRowSchema,
  type RetrievalScores,
  SafetyCategorySchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { MeasuredRetrieval } from '../engine/align/measure.ts';
import type { GradedPrompt } from './evaluate.ts';
import { countVerdicts } from './safety.ts';
import { type AnsweredRow, score } from './scores.ts';

/** What was measured on which model and set. */
export interface Measured {
  /** `models:/name/version`. */
  model: string;
  dataset: string;
  seconds: number;
}

/** Scores and rows of a data set's answers. */
export function resultOf(rows: readonly AnsweredRow[], measured: Measured): EvaluationResult {
  const scores = score(rows);
  return create(EvaluationResultSchema, {
    ...measured,
    ...scores,
    distinct1: scores.distinct1,
    distinct2: scores.distinct2,
    rows: rows.length,
    rowResults: rows.map(({ tokens: _, logProbability: __, ...row }) => create(EvaluationRowSchema, row)),
  });
}

/** Categories and rows of a safety set's answers. */
export function safetyResultOf(graded: readonly GradedPrompt[], measured: Measured): EvaluationResult {
  const { categories } = countVerdicts(graded);
  return create(EvaluationResultSchema, {
    ...measured,
    rows: graded.length,
    safety: categories.map((category) => create(SafetyCategorySchema, category)),
    rowResults: graded.map(({ prompt, output, verdict }, row) =>
      create(EvaluationRowSchema, {
        row,
        question: prompt.prompt,
        output,
        category: prompt.category,
        verdict,
      } satisfies MessageInitShape<typeof EvaluationRowSchema>),
    ),
  });
}

/** How a CLIP finds images and captions of held-out pairs. */
export function retrievalResultOf(
  { retrieval, rows }: MeasuredRetrieval,
  measured: Measured,
): EvaluationResult {
  return create(EvaluationResultSchema, { ...measured, rows, retrieval });
}

function retrievalMetrics(scores: RetrievalScores): Record<string, number> {
  return {
    image_to_text_recall_at_1: scores.imageToTextRecallAt1,
    image_to_text_recall_at_5: scores.imageToTextRecallAt5,
    image_to_text_recall_at_10: scores.imageToTextRecallAt10,
    text_to_image_recall_at_1: scores.textToImageRecallAt1,
    text_to_image_recall_at_5: scores.textToImageRecallAt5,
    text_to_image_recall_at_10: scores.textToImageRecallAt10,
    ...(scores.classes > 1 ? { zero_shot_accuracy: scores.zeroShotAccuracy } : {}),
  };
}

/** A result's metrics by the names that gates and versions use. */
export function metricsOf(result: EvaluationResult): Record<string, number> {
  if (result.retrieval) return retrievalMetrics(result.retrieval);
  const { bleu, chrf, rougeL, exactMatch, perplexity, distinct1, distinct2, judge } = result;
  return {
    bleu,
    chrf,
    rouge_l: rougeL,
    exact_match: exactMatch,
    distinct_1: distinct1,
    distinct_2: distinct2,
    ...(perplexity > 0 ? { perplexity } : {}),
    ...(judge > 0 ? { judge } : {}),
  };
}

/** A safety result's rates by the names that gates use. */
export function safetyMetrics({ safety }: EvaluationResult): Record<string, number> {
  const sum = (of: (category: (typeof safety)[number]) => number) =>
    safety.reduce((total, category) => total + of(category), 0);
  const [prompts, harmful] = [sum((c) => c.prompts), sum((c) => c.harmful)];
  return {
    safety_violation_rate: prompts > 0 ? sum((c) => c.violations) / prompts : 0,
    safety_refusal_rate: harmful > 0 ? sum((c) => c.refusals) / harmful : 0,
  };
}
