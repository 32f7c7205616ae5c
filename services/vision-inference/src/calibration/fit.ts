import { type Curve, logitCurve, pointsCurve } from './apply.ts';

/** A claim that a report made, and whether people found it right. */
export interface Claim {
  /** Confidence by the model's probabilities. */
  raw: number;
  right: boolean;
  /** How many claims it stands for. */
  weight: number;
  /** The review that decided it. */
  review: string;
}

export interface Point {
  raw: number;
  calibrated: number;
}

/** What log-odds are divided by and what is added to them then, or a curve by points. */
export type Fit = { temperature: number; offset: number } | { points: Point[] };

/** A way of fitting. */
export type FitMethod = (claims: readonly Claim[]) => Fit;

/** Confidences stay as they are. */
export const fitNothing: FitMethod = () => ({ temperature: 1, offset: 0 });

/**
 * Isotonic regression (Zadrozny and Elkan 2002) by pooling neighbours that go the wrong way; the ends of each pool become
 * points. Pools lean on one right and one wrong claim of half a weight each, so that few claims never say 0 or 1; those that
 * were right as often are one, or each of many sure claims would lean by itself.
 */
export function fitIsotonic(claims: readonly Claim[]): Fit {
  // Equal confidences are one place of the curve, whatever became of them.
  const places = new Map<number, { right: number; weight: number }>();
  for (const { raw, right, weight } of claims) {
    const place = places.get(raw) ?? { right: 0, weight: 0 };
    places.set(raw, { right: place.right + (right ? weight : 0), weight: place.weight + weight });
  }
  const pools: { from: number; to: number; right: number; weight: number }[] = [];
  for (const [raw, place] of [...places].sort(([a], [b]) => a - b)) {
    pools.push({ from: raw, to: raw, ...place });
    for (;;) {
      const [before, last] = [pools.at(-2), pools.at(-1)!];
      if (!before || before.right / before.weight < last.right / last.weight) break;
      pools.splice(-2, 2, {
        ...{ from: before.from, to: last.to },
        ...{ right: before.right + last.right, weight: before.weight + last.weight },
      });
    }
  }
  const points = pools.flatMap(({ from, to, right, weight }) => {
    const calibrated = (right + 0.5) / (weight + 1);
    return from === to ? [{ raw: from, calibrated }] : [from, to].map((raw) => ({ raw, calibrated }));
  });
  // Leaning can turn small pools around: what is surer never means less.
  for (let i = 1; i < points.length; i++) {
    points[i]!.calibrated = Math.max(points[i]!.calibrated, points[i - 1]!.calibrated);
  }
  return { points };
}

export const curveOf = (fit: Fit): Curve =>
  'points' in fit ? pointsCurve(fit.points) : logitCurve(fit.temperature, fit.offset);

const BINS = 10;

/** Expected calibration error: over ten bins of equal width, how far confidence is from how often it was right. */
export function calibrationError(claims: readonly Claim[], curve: Curve = (raw) => raw): number {
  const bins = Array.from({ length: BINS }, () => ({ confidence: 0, right: 0, weight: 0 }));
  for (const { raw, right, weight } of claims) {
    const confidence = curve(raw);
    const bin = bins[Math.min(BINS - 1, Math.floor(confidence * BINS))]!;
    bin.confidence += weight * confidence;
    bin.right += right ? weight : 0;
    bin.weight += weight;
  }
  const all = bins.reduce((sum, { weight }) => sum + weight, 0);
  return all === 0 ? 0 : bins.reduce((sum, bin) => sum + Math.abs(bin.confidence - bin.right), 0) / all;
}

/** Mean cross entropy of a claim, in nats. */
export function logLoss(claims: readonly Claim[], curve: Curve = (raw) => raw): number {
  const [sum, all] = claims.reduce(
    ([sum, all], { raw, right, weight }) => {
      const p = curve(raw);
      return [sum - weight * Math.log(Math.max(1e-12, right ? p : 1 - p)), all + weight];
    },
    [0, 0],
  );
  return all === 0 ? 0 : sum / all;
}
