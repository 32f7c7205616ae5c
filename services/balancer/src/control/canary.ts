/** What was told of one model. */
export interface Told {
  calls: number;
  errors: number;
  scores: number;
  scoreSum: number;
}

export interface CanaryLimits {
  errorMargin: number;
  minCalls: number;
  scoreMargin: number;
  minScores: number;
}

const percent = (share: number) => `${(100 * share).toFixed(1)} %`;

/**
 * Why a canary has to go: its calls fail more often than those of the stable model, or its scores are lower, each by
 * more than a margin and not before enough of them are known.
 * @returns empty while nothing speaks against it
 */
export function verdictOn(canary: Told, stable: Told, limits: CanaryLimits): string {
  // Reports of the two may come apart; a canary that gets all calls is judged without a stable one in the end.
  const isKnown = stable.calls > 0 || canary.calls >= 2 * limits.minCalls;
  if (canary.calls >= Math.max(1, limits.minCalls) && isKnown) {
    const share = canary.errors / canary.calls;
    const usual = stable.calls > 0 ? stable.errors / stable.calls : 0;
    if (share > usual + limits.errorMargin) {
      return `${percent(share)} of its ${canary.calls} calls failed, ${percent(usual)} of the stable model's ${stable.calls}`;
    }
  }
  const least = Math.max(1, limits.minScores);
  if (canary.scores >= least && stable.scores >= least) {
    const mean = canary.scoreSum / canary.scores;
    const usual = stable.scoreSum / stable.scores;
    if (mean < usual - limits.scoreMargin) {
      return `its ${canary.scores} scores have a mean of ${mean.toFixed(3)}, the stable model's ${stable.scores} one of ${usual.toFixed(3)}`;
    }
  }
  return '';
}
