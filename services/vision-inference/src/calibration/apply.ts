import type { Calibration } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import type { Asked } from '../inspection/question.ts';

/** A confidence as a curve of a calibration maps it. */
export type Curve = (raw: number) => number;

/** Probabilities of 0 and 1 have no odds: what a model is surest of counts as this far from them. */
const EDGE = 1e-6;
const within = (p: number) => Math.min(1 - EDGE, Math.max(EDGE, p));

export const logit = (p: number): number => Math.log(within(p) / (1 - within(p)));

/** Log-odds divided by a temperature, above 1 to make sure models humbler, and moved by an offset. */
export function logitCurve(temperature: number, offset: number): Curve {
  return (raw) => within(1 / (1 + Math.exp(-(logit(raw) / temperature + offset))));
}

/** Linear between points in order of `raw`, flat beyond the outer ones. */
export function pointsCurve(points: readonly { raw: number; calibrated: number }[]): Curve {
  return (raw) => {
    const next = points.findIndex((point) => point.raw >= raw);
    const high = points[next] ?? points.at(-1)!;
    const low = points[next - 1] ?? high;
    if (next < 0 || high.raw === low.raw) return high.calibrated;
    const share = (raw - low.raw) / (high.raw - low.raw);
    return low.calibrated + share * (high.calibrated - low.calibrated);
  };
}

/** The curve that a profile has for a model; undefined where it has not been calibrated, or the model was asked otherwise. */
export function curveFor(
  calibrations: readonly Calibration[],
  model: string,
  asked: Asked,
): Curve | undefined {
  const found = calibrations.find(
    ({ model: own, promptDigest, looks }) =>
      own === model &&
      (promptDigest === '' || (promptDigest === asked.promptDigest && looks === asked.looks)),
  );
  if (!found) return undefined;
  return found.points.length > 0 ? pointsCurve(found.points) : logitCurve(found.temperature, found.offset);
}
