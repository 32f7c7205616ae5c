import type { Sums } from './pace.ts';

/** Calls of an endpoint below which its failures tell nothing. */
const LEAST_CALLS = 10;
const LEAST_ERRORS = 3;
/** Its share of failed calls is this much above its peers', and this many standard deviations. */
const ERROR_MARGIN = 0.2;
const DEVIATIONS = 4;
/** Waits below which its pace tells nothing. */
const LEAST_WAITS = 12;
/** It lets wait this many times as long as the median of its peers, */
const SLOW_RATIO = 4;
/** and by this much: what is fast anyway need not be told apart. */
const LEAST_EXCESS_MS = 20;

/**
 * Which endpoint should be left alone: the worst of those whose success rate or pace is far from its peers' over the
 * same window (in the way of Envoy's outlier detection, with the median instead of mean and deviation, since peers are
 * few and one bad one spoils both). At most half of all are left alone at a time.
 * @param sums of each endpoint that is not left alone
 * @param ejected how many are already
 * @returns index into sums; -1 for none
 */
export function findOutlier(sums: readonly Sums[], ejected: number): number {
  if (ejected + 1 > (sums.length + ejected) / 2) return -1;
  let worst = -1;
  let by = 0;
  for (let i = 0; i < sums.length; i++) {
    const peers = sums.filter((_, j) => j !== i);
    const excess = Math.max(failsMore(sums[i]!, peers), isSlower(sums[i]!, peers));
    if (excess > by) {
      worst = i;
      by = excess;
    }
  }
  return worst;
}

/** Above 0 where it fails more than its peers. */
function failsMore(own: Sums, peers: readonly Sums[]): number {
  if (own.calls < LEAST_CALLS || own.errors < LEAST_ERRORS) return 0;
  const calls = peers.reduce((sum, peer) => sum + peer.calls, 0);
  if (calls < LEAST_CALLS) return 0;
  const share = peers.reduce((sum, peer) => sum + peer.errors, 0) / calls;
  const chance = DEVIATIONS * Math.sqrt((share * (1 - share)) / own.calls);
  return own.errors / own.calls - share - Math.max(ERROR_MARGIN, chance);
}

/** Above 0 where it lets wait longer than its peers. @param least waits that must be known of it */
export function isSlower(own: Sums, peers: readonly Sums[], least = LEAST_WAITS): number {
  if (own.waits < least) return 0;
  const paces = peers.filter(({ waits }) => waits >= LEAST_WAITS).map(({ pace }) => pace);
  if (paces.length === 0) return 0;
  const usual = paces.sort((a, b) => a - b)[Math.floor((paces.length - 1) / 2)]!;
  const ratio = own.pace / usual;
  const excessMs = own.paceMs * (1 - 1 / ratio);
  return ratio > SLOW_RATIO && excessMs > LEAST_EXCESS_MS ? ratio / SLOW_RATIO : 0;
}
