import {
  type Defect,
  type ReportSection,
  Severity,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { boxScale, questionOf } from '../inspection/question.ts';

/** What a report should have said. */
export interface Truth {
  defects: readonly Defect[];
  sections: readonly ReportSection[];
  width: number;
  height: number;
}

/**
 * A row of conversation: what the profile asks, and the answer that would have been right, written as the model is held
 * to write it. Undefined where people gave a defect without its place: a model can't learn a box from that.
 * @param image path within the data set
 */
export function trainingRow(image: string, spec: ProfileSpec, truth: Truth): object | undefined {
  const scale = boxScale(spec);
  const { width, height } = truth;
  if (truth.defects.some(({ box }) => !box)) return undefined;
  const defects = truth.defects.map(({ type, severity, box }) => ({
    ...{ type, severity: Severity[severity]!.toLowerCase() },
    box: [box!.x0 / width, box!.y0 / height, box!.x1 / width, box!.y1 / height].map((edge) =>
      Math.round(edge * scale),
    ),
  }));
  const answer: Record<string, unknown> = spec.defectTypes.length > 0 ? { defects } : {};
  for (const { id, maxLines } of spec.sections) {
    const lines = truth.sections.find((section) => section.id === id)?.lines ?? [];
    answer[id] = maxLines === 1 ? (lines[0] ?? '') : lines;
  }
  const messages = [
    { role: 'user', content: questionOf(spec).prompt },
    { role: 'assistant', content: JSON.stringify(answer) },
  ];
  return { image, messages };
}
