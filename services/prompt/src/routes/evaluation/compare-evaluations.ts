import type { EvaluationRoute } from '../../context.ts';
import { compareSides, readSide, sideBySide } from '../../evaluation/compare.ts';

const DEFAULT_RESAMPLES = 1000;
const DEFAULT_ROWS = 20;

export const compareEvaluations: EvaluationRoute<'compareEvaluations'> =
  ({ database }) =>
  ({ evaluations, resamples, seed, maxRows, metric }, { identity }) =>
    database.read(async (em) => {
      const sides = [];
      for (const [i, one] of evaluations.entries()) {
        sides.push(await readSide(em, identity, one, `evaluations[${i}]`));
      }
      const comparisons = compareSides(sides, resamples || DEFAULT_RESAMPLES, seed);
      return { comparisons, rows: sideBySide(sides, metric, maxRows || DEFAULT_ROWS) };
    });
