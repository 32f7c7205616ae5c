import type { OptimizationMove } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';

/** A version that is tried. */
export interface Candidate {
  /** From 0, the version that the search starts from. */
  number: number;
  round: number;
  /** Number of the try that it was made from. */
  parent: number;
  move: OptimizationMove;
  reason: string;
  draft: PromptDraft;
  digest: string;
  /** Development rows that it was measured on, and the metric on these. */
  rows: number;
  score: number;
  /** Measured on all development rows. */
  finished: boolean;
  /** What became of it, for people. */
  outcome: string;
}

/** A proposal of a round. */
export type Proposed = Pick<Candidate, 'parent' | 'move' | 'reason' | 'draft' | 'digest'>;

/** What a search works with. */
export interface SearchBench {
  /** Number of development rows. */
  rows: number;
  /** The best value that the metric can have. */
  perfect: number;
  /** Answers that measuring all of these on their next rows takes. */
  cost(candidates: readonly Candidate[], rows: number): number;
  /** Why no more can be spent, when that is so. @param answers that are to be had */
  spent(answers: number): string | undefined;
  /** The metric on the first rows. */
  measure(candidate: Candidate, rows: number): Promise<number>;
  /** Proposals from some tries, the best first, in the order in which they are worth a try. */
  propose(round: number, from: readonly Candidate[]): AsyncIterable<Proposed>;
  /** Keeps what a try has come to. */
  record(candidate: Candidate): void;
}

export interface SearchOptions {
  maxRounds: number;
  /** Proposals a round. */
  proposals: number;
}

/** What a search has found. */
export interface Found {
  best: Candidate;
  tries: Candidate[];
  rounds: number;
  /** Why it ended, for people. */
  why: string;
}

/** Tries that proposals are made from. */
const PARENTS = 2;
/** Rounds in a row without a better one, after which it ends. */
const PATIENCE = 2;
/** Of the candidates of a rung, the part that goes on to the next, on as many times the rows. */
const ETA = 2;
const FIRST_SHARE = 4;
const FEWEST_ROWS = 4;

/**
 * Rounds of proposals from the best so far; of each round those that do best on few rows go on to more, by successive
 * halving (Jamieson and Talwalkar 2016). A candidate is the best only by its value on all development rows.
 */
export async function search(first: Proposed, bench: SearchBench, options: SearchOptions): Promise<Found> {
  const tries: Candidate[] = [];
  const add = (proposed: Proposed, round: number): Candidate => {
    const candidate = {
      ...proposed,
      number: tries.length,
      round,
      rows: 0,
      score: 0,
      finished: false,
      outcome: '',
    };
    tries.push(candidate);
    bench.record(candidate);
    return candidate;
  };
  let best = add(first, 0);
  await measureTo(bench, best, bench.rows);
  let idle = 0;
  let round = 0;
  const end = (why: string): Found => ({ best, tries, rounds: round, why });
  while (round < options.maxRounds) {
    if (best.score >= bench.perfect) return end(`nothing is left to raise after ${round} rounds`);
    const spent = bench.spent(1);
    if (spent) return end(spent);
    round++;
    const proposed = await gather(bench, tries, round, options.proposals);
    if (proposed.length === 0) return end(`no other proposals came up in round ${round}`);
    const added = proposed.map((one) => add(one, round));
    const stopped = await halve(bench, added);
    const winner = added.filter(({ finished }) => finished).sort(better)[0];
    idle = winner && winner.score > best.score ? 0 : idle + 1;
    if (winner && winner.score > best.score) best = winner;
    if (stopped) return end(stopped);
    if (idle >= PATIENCE) return end(`${PATIENCE} rounds brought nothing better`);
  }
  return end(`all ${options.maxRounds} rounds are over`);
}

/** By value, of equals the one that came first. */
const better = (a: Candidate, b: Candidate): number => b.score - a.score || a.number - b.number;

/** Different proposals from the best tries so far. */
async function gather(
  bench: SearchBench,
  tries: readonly Candidate[],
  round: number,
  most: number,
): Promise<Proposed[]> {
  const known = new Set(tries.map(({ digest }) => digest));
  const from = tries
    .filter(({ finished }) => finished)
    .sort(better)
    .slice(0, PARENTS);
  const proposed: Proposed[] = [];
  for await (const one of bench.propose(round, from)) {
    if (known.has(one.digest)) continue;
    known.add(one.digest);
    proposed.push(one);
    if (proposed.length >= most) break;
  }
  return proposed;
}

/** @returns why it had to be left off, when it had to */
async function halve(bench: SearchBench, candidates: readonly Candidate[]): Promise<string | undefined> {
  let left = [...candidates];
  let rows = Math.min(bench.rows, Math.max(FEWEST_ROWS, Math.ceil(bench.rows / FIRST_SHARE)));
  for (;;) {
    const spent = bench.spent(bench.cost(left, rows));
    if (spent) {
      for (const one of left) note(bench, one, `left at ${one.rows} rows: ${spent}`);
      return spent;
    }
    for (const one of left) await measureTo(bench, one, rows);
    if (rows >= bench.rows) return undefined;
    left.sort(better);
    const stay = Math.max(1, Math.ceil(left.length / ETA));
    for (const one of left.slice(stay)) {
      note(
        bench,
        one,
        `given up after ${rows} of ${bench.rows} rows: ${stay} others of its round did better`,
      );
    }
    left = left.slice(0, stay);
    rows = Math.min(bench.rows, rows * ETA);
  }
}

async function measureTo(bench: SearchBench, candidate: Candidate, rows: number): Promise<void> {
  candidate.score = await bench.measure(candidate, rows);
  candidate.rows = rows;
  candidate.finished = rows >= bench.rows;
  bench.record(candidate);
}

function note(bench: SearchBench, candidate: Candidate, outcome: string): void {
  candidate.outcome = outcome;
  bench.record(candidate);
}
