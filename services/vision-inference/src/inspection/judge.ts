import { createHash } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  BoxSchema,
  type Defect,
  DefectSchema,
  type ReportSchema,
  ReportSectionSchema,
  ReviewCause,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { Profile, ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import type { Curve } from '../calibration/apply.ts';
import type { Answer, Finding, Span } from './answer.ts';
import type { Confidence } from './confidence.ts';
import { rulingOf } from './dispositions.ts';
import { positionOf, reportText } from './words.ts';

/** What is judged. */
export interface Evidence {
  profile: Profile;
  answer: Answer;
  /** undefined where the model tells no probabilities. */
  confidence: Confidence | undefined;
  /** undefined where the profile is not calibrated for the model. */
  curve: Curve | undefined;
  image: { digest: string; width: number; height: number };
}

/** What is made of it. */
export interface Judgement {
  report: MessageInitShape<typeof ReportSchema> & { defects: Defect[] };
  /** Where each reported defect stands in the answer. */
  spans: Span[];
  /** Probability of a defect as the model's probabilities say. */
  rawProbability: number;
  cause: ReviewCause;
  /** How many reports this one stands for in what reviews say of all: 1 over the probability of its being drawn. */
  weight: number;
}

/** Holds an answer against a profile: what is reported, what follows, and whether a person must look. */
export function judge(evidence: Evidence): Judgement {
  const { profile, answer, confidence, curve, image } = evidence;
  const spec = profile.spec!;
  const calibrate = curve ?? ((raw: number) => raw);
  const candidates = answer.findings.map((finding, i) => {
    const raw = confidence?.findings[i] ?? 0;
    return { finding, defect: defectOf(finding, raw, calibrate(raw), evidence) };
  });
  // Nothing is known of confidences that nobody tells: such defects are reported, and people look at them.
  const isReported = ({ defect }: { defect: Defect }) =>
    !confidence || defect.confidence >= thresholdOf(spec, defect.type);
  const reported = candidates.filter(isReported);
  const defects = reported.map(({ defect }) => defect);
  const rawProbability = confidence?.defect ?? (defects.length > 0 ? 1 : 0);
  const probability = confidence ? calibrate(rawProbability) : rawProbability;
  const told = {
    ...{ defective: defects.length > 0, defects, notice: spec.notice },
    sections: spec.sections.map(({ id, title }) =>
      create(ReportSectionSchema, { id, title, lines: answer.sections.get(id) ?? [] }),
    ),
    ...(spec.modelWritesText ? answer : rulingOf(spec, defects)),
  };
  const { conclusion, advice } = told;
  const asks = spec.defectTypes.length > 0;
  const { cause, weight } = askPeople(evidence, [
    probability,
    ...candidates.map(({ defect }) => defect.confidence),
  ]);
  return {
    report: {
      ...{
        defective: told.defective,
        defects,
        conclusion,
        advice,
        sections: told.sections,
        notice: told.notice,
      },
      text: reportText(told, spec.language, asks, []),
      belowThreshold: candidates.filter((one) => !isReported(one)).map(({ defect }) => defect),
      defectProbability: probability,
      calibrated: curve !== undefined && confidence !== undefined,
      ...{ profile: profile.name, profileVersion: profile.version, reviewCause: cause },
      ...{ imageDigest: image.digest, imageWidth: image.width, imageHeight: image.height },
    },
    spans: reported.map(({ finding }) => finding.span),
    ...{ rawProbability, cause, weight },
  };
}

/** Least confidence at which a defect of a type is reported; 0 reports whatever the model names. */
export const thresholdOf = (spec: ProfileSpec, type: string): number =>
  spec.defectTypes.find(({ id }) => id === type)?.threshold || spec.threshold;

function defectOf(
  { type, severity, box: [x0, y0, x1, y1] }: Finding,
  rawConfidence: number,
  confidence: number,
  { profile, image: { width, height } }: Evidence,
): Defect {
  const { language, defectTypes } = profile.spec!;
  const box = create(BoxSchema, { x0: x0 * width, y0: y0 * height, x1: x1 * width, y1: y1 * height });
  return create(DefectSchema, {
    ...{ type, severity, confidence, rawConfidence, box },
    name: defectTypes.find(({ id }) => id === type)?.name ?? type,
    position: positionOf(box, width, height, language),
  });
}

/** Why people look at a report, the weightiest cause first. @param probabilities of the piece and of each defect named */
function askPeople(
  { profile, confidence, image }: Evidence,
  probabilities: readonly number[],
): Pick<Judgement, 'cause' | 'weight'> {
  const { review, notice, defectTypes } = profile.spec!;
  const certain = (cause: ReviewCause) => ({ cause, weight: 1 });
  if (notice !== '' || review?.always) return certain(ReviewCause.SIGNATURE);
  if (!confidence && defectTypes.length > 0) return certain(ReviewCause.NO_CONFIDENCE);
  const { uncertainFrom = 0, uncertainTo = 0, sampleRate = 0 } = review ?? {};
  if (probabilities.some((p) => p >= uncertainFrom && p < uncertainTo)) return certain(ReviewCause.UNCERTAIN);
  if (draw(`${profile.name}/${profile.version}/${image.digest}`) < sampleRate) {
    return { cause: ReviewCause.SAMPLED, weight: 1 / sampleRate };
  }
  return certain(ReviewCause.UNSPECIFIED);
}

/** A number from 0 to below 1 that the text decides: the same image is drawn or not whenever it comes. */
function draw(text: string): number {
  return createHash('sha256').update(text).digest().readUIntBE(0, 6) / 2 ** 48;
}
