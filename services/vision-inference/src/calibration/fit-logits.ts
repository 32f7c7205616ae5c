import { logit } from './apply.ts';
import type { Claim, Fit } from './fit.ts';

interface Row {
  /** Log-odds of its confidence. */
  z: number;
  target: number;
  weight: number;
}

/** What log-odds are multiplied by: 1 over a temperature of 20 to 0.05. What is surer never means less. */
const [FLATTEST, STEEPEST] = [0.05, 20];
const MOST_STEPS = 100;
/** Slope of the mean cross entropy at which it counts as least. */
const FLAT = 1e-9;
/** Part of the descent that the slope promises which a step must bring. */
const ENOUGH = 1e-4;
/** Keeps the steps within bounds where all confidences are alike. */
const RIDGE = 1e-9;
const SHORTEST_STEP = 1e-10;

const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));

/** The temperature of least cross entropy (Guo et al. 2017). */
export function fitTemperature(claims: readonly Claim[]): Fit {
  const [slope] = newton(rowsOf(claims), [1, 0], 'slope');
  return { temperature: 1 / bounded(slope), offset: 0 };
}

/** Temperature and offset of least cross entropy (Platt 1999). */
export function fitPlatt(claims: readonly Claim[]): Fit {
  const rows = rowsOf(claims);
  const [slope, offset] = newton(rows, [1, 0], 'both');
  const steep = bounded(slope);
  // At the bound only the offset is left to find.
  return {
    temperature: 1 / steep,
    offset: steep === slope ? offset : newton(rows, [steep, 0], 'offset')[1],
  };
}

const bounded = (slope: number) => Math.min(STEEPEST, Math.max(FLATTEST, slope));

/**
 * Claims with targets a little within 0 and 1, as Platt has them: claims that were all right, or all wrong, would send
 * confidences to the ends.
 */
function rowsOf(claims: readonly Claim[]): Row[] {
  const weigh = (right: boolean) =>
    claims.reduce((sum, claim) => sum + (claim.right === right ? claim.weight : 0), 0);
  const [rights, wrongs] = [weigh(true), weigh(false)];
  const [yes, no] = [(rights + 1) / (rights + 2), 1 / (wrongs + 2)];
  return claims.map(({ raw, right, weight }) => ({
    ...{ z: logit(raw), target: right ? yes : no, weight: weight / (rights + wrongs) },
  }));
}

/**
 * Slope and offset of least cross entropy, by Newton's method with backtracking (Lin, Lin and Weng 2007).
 * @param free what is looked for; the other stays
 */
function newton(
  rows: readonly Row[],
  from: readonly [number, number],
  free: 'slope' | 'offset' | 'both',
): readonly [number, number] {
  let at = from;
  for (let step = 0; step < MOST_STEPS; step++) {
    const { loss, gradient, hessian } = derivatives(rows, at);
    if (free === 'offset') gradient[0] = 0;
    if (free === 'slope') gradient[1] = 0;
    if (Math.hypot(...gradient) < FLAT) break;
    const move =
      free === 'both'
        ? solved(hessian, gradient)
        : ([-gradient[0] / hessian[0], -gradient[1] / hessian[2]] as const);
    const promised = gradient[0] * move[0] + gradient[1] * move[1];
    let length = 1;
    const next = () => [at[0] + length * move[0], at[1] + length * move[1]] as const;
    while (length > SHORTEST_STEP && lossAt(rows, next()) > loss + ENOUGH * length * promised) length /= 2;
    if (length <= SHORTEST_STEP) break;
    at = next();
  }
  return at;
}

function derivatives(rows: readonly Row[], [slope, offset]: readonly [number, number]) {
  const gradient: [number, number] = [0, 0];
  /** By slope twice, by both, by offset twice. */
  const hessian: [number, number, number] = [RIDGE, 0, RIDGE];
  for (const { z, target, weight } of rows) {
    const p = sigmoid(slope * z + offset);
    const [error, curvature] = [weight * (p - target), weight * p * (1 - p)];
    gradient[0] += error * z;
    gradient[1] += error;
    hessian[0] += curvature * z * z;
    hessian[1] += curvature * z;
    hessian[2] += curvature;
  }
  return { loss: lossAt(rows, [slope, offset]), gradient, hessian };
}

/** Newton's step: the gradient through the inverse of the Hessian, downwards. */
function solved([aa, ab, bb]: readonly number[], [a, b]: readonly number[]): readonly [number, number] {
  const determinant = aa! * bb! - ab! * ab!;
  return [-(bb! * a! - ab! * b!) / determinant, -(aa! * b! - ab! * a!) / determinant];
}

/** Mean cross entropy against the targets: log(1 + e^x) - target * x, without an overflow. */
function lossAt(rows: readonly Row[], [slope, offset]: readonly [number, number]): number {
  return rows.reduce((sum, { z, target, weight }) => {
    const x = slope * z + offset;
    return sum + weight * (Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))) - target * x);
  }, 0);
}
