import { logit } from './apply.ts';
import { type Claim, COLDEST, type Fit, HOTTEST } from './fit.ts';

interface Row {
  /** Log-odds of its confidence. */
  z: number;
  target: number;
  weight: number;
}

const MOST_STEPS = 100;
/** Slope of the mean cross entropy at which it counts as least. */
const FLAT = 1e-9;
/** Part of the descent that the slope promises which a step must bring. */
const ENOUGH = 1e-4;
/** Keeps the steps within bounds where all confidences are alike. */
const RIDGE = 1e-9;
const SHORTEST_STEP = 1e-10;

const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));

/**
 * Temperature and offset of least cross entropy (Platt 1999), by Newton's method with backtracking (Lin, Lin and Weng
 * 2007). Targets lie a little within 0 and 1, as Platt has them, so that claims that were all right, or all wrong, do not
 * send the offset away.
 */
export function fitPlatt(claims: readonly Claim[]): Fit {
  const weigh = (right: boolean) =>
    claims.reduce((sum, claim) => sum + (claim.right === right ? claim.weight : 0), 0);
  const [rights, wrongs] = [weigh(true), weigh(false)];
  const [yes, no] = [(rights + 1) / (rights + 2), 1 / (wrongs + 2)];
  const all = rights + wrongs;
  const rows = claims.map(({ raw, right, weight }) => ({
    ...{ z: logit(raw), target: right ? yes : no, weight: weight / all },
  }));
  const [slope, offset] = newton(rows, [1, 0], true);
  const bounded = Math.min(1 / COLDEST, Math.max(1 / HOTTEST, slope));
  // What is surer never means less: at the bound only the offset is left to find.
  return {
    temperature: 1 / bounded,
    offset: bounded === slope ? offset : newton(rows, [bounded, 0], false)[1],
  };
}

/** Slope and offset of least cross entropy. @param both whether the slope is looked for too */
function newton(
  rows: readonly Row[],
  from: readonly [number, number],
  both: boolean,
): readonly [number, number] {
  let at = from;
  for (let step = 0; step < MOST_STEPS; step++) {
    const { loss, gradient, hessian } = derivatives(rows, at);
    if (!both) gradient[0] = 0;
    if (Math.hypot(...gradient) < FLAT) break;
    const move = both ? solved(hessian, gradient) : ([0, -gradient[1] / hessian[2]] as const);
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
