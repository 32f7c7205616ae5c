import { median, type Report } from './report.ts';
import type { ServeOptions } from './serve.ts';
import { gaps, promptOf } from './serve-load.ts';
import { ServiceProcesses } from './serve-replica.ts';
import type { Asked, Target } from './serve-target.ts';

const STREAMS = 4;
const LONG_TOKENS = 1024;
/** Tokens that streams have before the long prompt comes. */
const BEFORE = 16;
/** More than are made until the long prompt is prefilled, a chunk of it a step. */
const TOKENS = 160;

interface Round {
  /** Longest wait of each stream for a token while the long prompt was prefilled. */
  longestMs: number[];
  /** The middle of all waits then, and of those before. */
  stepMs: number;
  quietMs: number;
}

/** How long running streams wait for their next token while a long prompt is prefilled; the worst of the rounds. */
export async function measure(report: Report, options: ServeOptions): Promise<void> {
  await using processes = new ServiceProcesses();
  const { target } = await processes.replica(options);
  const rounds: Round[] = [];
  for (let round = 0; round < options.rounds; round++)
    rounds.push(await prefillBeside(target, options.random));
  const worst = (of: (round: Round) => number) => Math.max(...rounds.map(of));
  const longest = ({ longestMs }: Round) => Math.max(...longestMs);
  report.figure('fairness.step', median(rounds.map(({ stepMs }) => stepMs)), 'ms');
  report.figure('fairness.quiet-step', median(rounds.map(({ quietMs }) => quietMs)), 'ms');
  report.figure('fairness.longest-gap', worst(longest), 'ms');
  report.figure(
    'fairness.longest-gap-in-steps',
    worst((round) => longest(round) / round.stepMs),
    'steps',
  );
  report.figure(
    'fairness.longer-than-another-stream',
    worst((round) => (longest(round) - Math.min(...round.longestMs)) / round.stepMs),
    'steps',
  );
}

async function prefillBeside(target: Target, random: () => number): Promise<Round> {
  let [ready, wake] = [0, () => {}];
  const allRun = new Promise<void>((resolve) => {
    wake = resolve;
  });
  const streams = Array.from({ length: STREAMS }, () => {
    let seen = 0;
    const onText = () => {
      if (++seen === BEFORE && ++ready === STREAMS) wake();
    };
    const asked: Asked = { prompt: promptOf(BEFORE, random), maxTokens: TOKENS, onText };
    return target.generate(asked);
  });
  await Promise.race([allRun, Promise.all(streams)]);
  const from = performance.now();
  const long = await target.generate({ prompt: promptOf(LONG_TOKENS, random), maxTokens: 1 });
  const to = long.arrivals[0]!;
  const all = await Promise.all(streams);
  if (all.some(({ arrivals }) => arrivals.at(-1)! < to))
    throw new Error('a stream ended before the long prompt was prefilled');
  // A wait counts where it overlaps the prefill.
  const within = all.map(({ arrivals }) =>
    gaps(arrivals).filter((_, i) => arrivals[i + 1]! > from && arrivals[i]! < to),
  );
  const before = all.flatMap(({ arrivals }) => gaps(arrivals.filter((at) => at < from)));
  return {
    longestMs: within.map((waits) => Math.max(...waits)),
    stepMs: median(within.flat()),
    quietMs: median(before),
  };
}
