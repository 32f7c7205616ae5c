import { chooseReplica, SCAN_UP_TO } from './choice.ts';
import type { Ask } from './cost.ts';
import { findOutlier, isSlower } from './outliers.ts';
import { UsualWaits } from './pace.ts';
import { type EndpointTally, LONGEST_OUTLIER_EJECTION_MS, type Passage } from './tally.ts';

/** A replica that may answer, and whether it has what the request's model needs. */
export interface Candidate {
  readonly tally: EndpointTally;
  readonly adapterLoaded: boolean;
}

const CHECK_MS = 1000;
/** One that has own requests and says nothing this long is passed by while others speak. */
const SILENT_MS = 1000;
const LONGEST_PROBE_TOKENS = 256;
/** A replica whose steps take this many times as long as the fastest one's is asked by chance only. */
const SLOW_STEP = 6;
/** Waits of a probe from which its pace can be told. */
const PROBE_WAITS = 4;

/** How an attempt went, as far as it tells of the endpoint. */
export type Outcome = 'answered' | 'failed' | 'unreachable' | 'unknown';

/**
 * How one caller chooses among endpoints and what it learns from its calls. Everything that needs a clock or chance is
 * given, so that the same code runs in a simulation.
 */
export class BalancingPolicy {
  readonly #random: () => number;
  readonly #scanUpTo: number;
  readonly #usual = new UsualWaits();
  #checkedMs = 0;
  /** Outliers that were left alone so far. */
  ejections = 0;

  constructor(random: () => number = Math.random, scanUpTo = SCAN_UP_TO) {
    this.#random = random;
    this.#scanUpTo = scanUpTo;
  }

  /** @returns undefined when none may be asked now */
  choose<T extends Candidate>(all: readonly T[], ask: Ask, nowMs: number): T | undefined {
    this.#eject(all, nowMs);
    const answering = all.filter(({ tally }) => tally.answers(nowMs));
    const wellOrIdle = answering.filter(({ tally }) => !tally.isProbed);
    // Where there is no other, a probe that takes long must not keep everybody waiting.
    const open = wellOrIdle.length > 0 ? wellOrIdle : answering;
    const speaking = open.filter(({ tally }) => tally.silentMs(nowMs) < SILENT_MS);
    const from = speaking.length > 0 ? speaking : open;
    return this.#probe(from, ask, nowMs) ?? this.#best(from, ask);
  }

  #best<T extends Candidate>(from: readonly T[], ask: Ask): T | undefined {
    const traits = {
      cost: ({ tally }: T) => tally.cost(ask),
      holds: ({ adapterLoaded }: T) => adapterLoaded,
      caches: ({ tally }: T) => tally.caches(ask),
    };
    return chooseReplica(from, traits, this.#random, this.#scanUpTo);
  }

  /** One that should be tried, since nothing else would show that it is well again; only with short requests. */
  #probe<T extends Candidate>(from: readonly T[], ask: Ask, nowMs: number): T | undefined {
    if (ask.outputTokens > LONGEST_PROBE_TOKENS) return undefined;
    const steps = from.map(({ tally }) => tally.load?.stepMs ?? 0).filter((ms) => ms > 0);
    const slowMs = SLOW_STEP * Math.min(...steps);
    return from.find(({ tally }) => {
      const looksSlow =
        (tally.load?.stepMs ?? 0) > slowMs && tally.idleMs(nowMs) > LONGEST_OUTLIER_EJECTION_MS;
      return (tally.onProbation && !tally.isProbed) || looksSlow;
    });
  }

  /**
   * A message, or a whole answer, came after this long.
   * @param kind what the wait is compared with, over all endpoints
   * @param all the endpoint and its peers
   */
  waited(
    { tally, passage, kind, ms }: { tally: EndpointTally; passage: Passage; kind: string; ms: number },
    all: readonly Candidate[],
    nowMs: number,
  ): void {
    const relative = this.#usual.relative(kind, ms);
    if (passage.isStale) return;
    tally.window.waited(ms, relative, nowMs);
    // What a probe shows is enough: a long answer need not have ended.
    if (tally.onProbation && tally.window.sums(nowMs).waits >= PROBE_WAITS) this.#settle(tally, all, nowMs);
  }

  /** An attempt is over. @param all the endpoint and its peers */
  ended(
    tally: EndpointTally,
    passage: Passage,
    outcome: Outcome,
    all: readonly Candidate[],
    nowMs: number,
  ): void {
    const { isStale } = passage;
    passage.end();
    if (outcome === 'unknown' || isStale) return;
    if (outcome === 'unreachable') {
      tally.eject(nowMs, this.#random);
      return;
    }
    tally.window.ended(outcome === 'failed', nowMs);
    if (outcome === 'failed') {
      if (tally.onProbation) this.#leaveAlone(tally, nowMs);
      return;
    }
    if (tally.onProbation) this.#settle(tally, all, nowMs);
  }

  /** Takes an endpoint on probation back, or leaves it alone for longer. */
  #settle(tally: EndpointTally, all: readonly Candidate[], nowMs: number): void {
    if (this.#isSlow(tally, all, nowMs)) this.#leaveAlone(tally, nowMs);
    else tally.succeeded(nowMs);
  }

  #isSlow(tally: EndpointTally, all: readonly Candidate[], nowMs: number): boolean {
    const peers = all.filter((each) => each.tally !== tally && !each.tally.onProbation);
    const sums = peers.map((each) => each.tally.window.sums(nowMs));
    return isSlower(tally.window.sums(nowMs), sums, PROBE_WAITS) > 0;
  }

  /** Leaves the worst outlier alone, once a second at most. */
  #eject(all: readonly Candidate[], nowMs: number): void {
    if (nowMs - this.#checkedMs < CHECK_MS) return;
    this.#checkedMs = nowMs;
    const ready = all.filter(({ tally }) => tally.takesRequests);
    const well = ready.filter(({ tally }) => !tally.onProbation);
    const sums = well.map(({ tally }) => tally.window.sums(nowMs));
    const at = findOutlier(sums, ready.length - well.length);
    if (at < 0) return;
    this.ejections++;
    this.#leaveAlone(well[at]!.tally, nowMs);
  }

  #leaveAlone(tally: EndpointTally, nowMs: number): void {
    tally.ejectOutlier(nowMs, this.#random);
  }
}
