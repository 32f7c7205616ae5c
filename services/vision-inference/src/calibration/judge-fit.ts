import type { Curve } from './apply.ts';
import { type Claim, calibrationError, curveOf, type Fit, type FitMethod, logLoss } from './fit.ts';

/** How true confidences are. */
export interface Truth {
  /** Expected calibration error. */
  error: number;
  /** Mean cross entropy of a claim in nats: a proper score, which no confidence but the true one makes least. */
  logLoss: number;
}

/** How true claims are under a curve; as the model's probabilities say without one. */
export const truthOf = (claims: readonly Claim[], curve?: Curve): Truth => ({
  error: calibrationError(claims, curve),
  logLoss: logLoss(claims, curve),
});

const FOLDS = 5;

/** Claims with the confidences that a way of fitting gives them, each fifth of the reviews by a fit that had not seen it. */
export function heldOut(claims: readonly Claim[], method: FitMethod): Claim[] {
  const reviews = [...new Set(claims.map(({ review }) => review))];
  const folds = new Map(reviews.map((review, i) => [review, i % FOLDS]));
  return Array.from({ length: FOLDS }, (_, fold) => {
    const curve = curveOf(method(claims.filter(({ review }) => folds.get(review) !== fold)));
    return claims
      .filter(({ review }) => folds.get(review) === fold)
      .map((claim) => ({ ...claim, raw: curve(claim.raw) }));
  }).flat();
}

/** A fit, and how true confidences are by it on reviews that it had not seen. */
export interface JudgedFit {
  fit: Fit;
  after: Truth;
}

export const judgedFit = (claims: readonly Claim[], method: FitMethod): JudgedFit => ({
  fit: method(claims),
  after: truthOf(heldOut(claims, method)),
});

/**
 * The first of some ways of fitting, the simplest first, whose cross entropy on reviews that it had not seen lies within a
 * standard error of the least (Breiman et al. 1984): few reviews show no difference, and then nothing is changed.
 */
export function chooseFit(claims: readonly Claim[], methods: readonly FitMethod[]): JudgedFit {
  const losses = methods.map((method) => lossesByReview(heldOut(claims, method)));
  const totals = losses.map((those) => sum([...those.values()]));
  const best = losses[totals.indexOf(Math.min(...totals))]!;
  const chosen = losses.findIndex((those) => {
    const worse = [...those].map(([review, loss]) => loss - best.get(review)!);
    return sum(worse) <= standardError(worse);
  });
  return judgedFit(claims, methods[chosen]!);
}

/** Weighed cross entropies of each review's claims: those of one piece err together. */
function lossesByReview(claims: readonly Claim[]): Map<string, number> {
  const losses = new Map<string, number>();
  for (const claim of claims)
    losses.set(claim.review, (losses.get(claim.review) ?? 0) + claim.weight * logLoss([claim]));
  return losses;
}

/** Of a sum of independent values. */
function standardError(values: readonly number[]): number {
  const mean = sum(values) / values.length;
  return Math.sqrt(sum(values.map((value) => (value - mean) ** 2)));
}

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
