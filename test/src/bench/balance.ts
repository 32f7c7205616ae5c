import { parseArgs } from 'node:util';
import { MAX_BATCH, stepMs } from './balance-engine.ts';
import { overload } from './balance-overload.ts';
import { type Choice, type Result, type Setting, simulate } from './balance-simulation.ts';
import { MIXES, type Mix, mixedWork, sharedPrefixWork, type WorkItem } from './balance-workload.ts';
import { lcg } from './random.ts';
import { median, quantile, type Report } from './report.ts';

const REPLICAS = 4;
/** Processes that call (a gateway, a prompt service, a trainer), each with its own view. */
const CALLERS = 3;
/** Of capacity. */
const LOAD = 0.8;
const REQUESTS_PER_REPLICA = 1500;
/** Share of the requests at the beginning that are not counted. */
const WARM = 0.1;

/**
 * How callers balance, against round robin. Replicas are simulated with step times that were measured with the real
 * engine, in virtual time; the callers' code is the real one. Overload is measured with real processes.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
      seeds: { type: 'string', default: '6' },
      seconds: { type: 'string', default: '60' },
      only: { type: 'string', default: 'simulation,overload' },
    },
  });
  const seed = Number(values.seed);
  const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => seed + i);
  process.stdout.write(`simulated engine: measured step times, ${REPLICAS} replicas, batch ${MAX_BATCH}\n`);
  process.stdout.write(`seeds ${seeds.join(' ')}; --seed ${seed} repeats this run\n`);
  const only = values.only.split(',');
  if (only.includes('simulation')) {
    mix(report, 'mixed', seeds, ['even', 'one-slow']);
    mix(report, 'milder', seeds, ['even']);
    prefixes(report, seeds);
    scans(report, seeds);
  }
  if (only.includes('overload')) await overload(report, Number(values.seconds), lcg(seed));
  return { seeds };
}

/** What a run's requests met. */
interface Figures {
  slowdownP50: number;
  slowdownP99: number;
  firstTokenP99: number;
  latencyP99: number;
}

/** The policy and round robin on the same arrivals: all replicas alike, then one ten times slower. */
function mix(
  report: Report,
  name: keyof typeof MIXES,
  seeds: readonly number[],
  states: readonly ('even' | 'one-slow')[],
): void {
  const capacity = capacityOf(MIXES[name]);
  report.figure(`${name}.capacity`, capacity * REPLICAS, 'requests/s');
  for (const state of states) {
    // Of what all replicas can do together, the slow one included.
    const [slowness, replicas] = state === 'even' ? [[], REPLICAS] : [[10], REPLICAS - 0.9];
    const perSecond = LOAD * capacity * replicas;
    const runs = (choice: Choice) =>
      seeds.map((seed) => {
        const work = mixedWork(MIXES[name], REPLICAS * REQUESTS_PER_REPLICA, perSecond, lcg(seed));
        return simulated({ choice, work, slowness, random: lcg(seed + 1) });
      });
    compare(report, `${name}.${state}`, runs('policy'), runs('round robin'));
  }
}

function simulated(setting: Omit<Setting, 'replicas' | 'callers'> & Partial<Setting>): Result {
  return simulate({ replicas: REPLICAS, callers: CALLERS, ...setting });
}

function compare(report: Report, name: string, ours: readonly Result[], peer: readonly Result[]): void {
  const [us, them] = [figures(ours), figures(peer)];
  report.figure(`${name}.slowdown-p50`, us.slowdownP50, 'times its latency alone');
  report.figure(`${name}.slowdown-p99`, us.slowdownP99, 'times its latency alone');
  report.figure(`${name}.outliers-left-alone`, median(ours.map(({ ejections }) => ejections)), 'times');
  report.figure(`${name}.share-of-replica-0`, median(ours.map(shareOfFirst)), 'of requests');
  report.ratio(`${name}.p99-slowdown`, us.slowdownP99, them.slowdownP99, 'times its latency alone');
  report.ratio(`${name}.p99-first-token`, us.firstTokenP99, them.firstTokenP99, 'ms');
  report.ratio(`${name}.p99-latency`, us.latencyP99, them.latencyP99, 'ms');
}

const shareOfFirst = ({ shares, jobs }: Result) => shares[0]! / jobs.length;

/** Over the requests of all seeds. */
function figures(results: readonly Result[]): Figures {
  const jobs = results.flatMap((result) => result.jobs.slice(Math.floor(WARM * result.jobs.length)));
  const latencies = jobs.map((job) => job.endMs - job.arrivedMs);
  const slowdowns = jobs.map((job, i) => latencies[i]! / aloneMs(job));
  const firsts = jobs.map((job) => job.firstMs - job.arrivedMs);
  return {
    slowdownP50: quantile(slowdowns, 0.5),
    slowdownP99: quantile(slowdowns, 0.99),
    firstTokenP99: quantile(firsts, 0.99),
    latencyP99: quantile(latencies, 0.99),
  };
}

/** What a request takes on a replica that has nothing else to do. */
function aloneMs({ promptTokens, outputTokens }: { promptTokens: number; outputTokens: number }): number {
  return stepMs(0, promptTokens) + (outputTokens - 1) * stepMs(1, 0);
}

/** Requests a second that one replica ends with more than enough before it. */
function capacityOf(of: Mix): number {
  const work = mixedWork(of, REQUESTS_PER_REPLICA, 1e6, lcg(1));
  const { jobs } = simulated({ choice: 'round robin', replicas: 1, callers: 1, work, random: lcg(1) });
  // Without the end, when fewer and fewer are left.
  const ends = jobs.map(({ endMs }) => endMs);
  return (0.9 * jobs.length) / (quantile(ends, 0.9) / 1000);
}

/** Prompts that begin with one of 64 long texts, one of them hot: with keys of the beginnings, and without. */
function prefixes(report: Report, seeds: readonly number[]): void {
  const shape = { groups: 64, hotShare: 0.2, prefixTokens: 1024 };
  const perSecond = 0.3 * capacityOf(MIXES.mixed) * REPLICAS;
  const runs = (prepare: (item: WorkItem) => WorkItem, blind: boolean) =>
    seeds.map((seed) => {
      const plain = mixedWork(MIXES.mixed, REPLICAS * REQUESTS_PER_REPLICA, perSecond, lcg(seed));
      const work = sharedPrefixWork(plain, shape, lcg(seed + 2)).map(prepare);
      return simulated({ choice: 'policy', work, random: lcg(seed + 1), blind });
    });
  const [keyed, blind] = [runs((item) => item, false), runs((item) => item, true)];
  const saved = ({ savedTokens, jobs }: Result) =>
    savedTokens / jobs.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  report.figure('prefix.saved', median(keyed.map(saved)), 'of prompt tokens');
  report.figure('prefix.saved-without-keys', median(blind.map(saved)), 'of prompt tokens');
  report.figure(
    'prefix.largest-share',
    median(keyed.map(({ shares, jobs }) => Math.max(...shares) / jobs.length)),
    'of requests',
  );
  report.ratio('prefix.p99-first-token', figures(keyed).firstTokenP99, figures(blind).firstTokenP99, 'ms');
}

/** Looking at all replicas against two at random, with eight callers and stale figures. */
function scans(report: Report, seeds: readonly number[]): void {
  const capacity = capacityOf(MIXES.mixed);
  for (const replicas of [4, 8, 16, 32]) {
    const runs = (choice: Choice) =>
      seeds.slice(0, 2).map((seed) => {
        const work = mixedWork(MIXES.mixed, replicas * 500, LOAD * capacity * replicas, lcg(seed));
        return simulated({ choice, replicas, callers: 8, work, random: lcg(seed + 1) });
      });
    const [all, two] = [figures(runs('full scan')), figures(runs('two choices'))];
    report.ratio(
      `scan-over-two-choices.${replicas}-replicas`,
      all.slowdownP99,
      two.slowdownP99,
      'p99 slowdown',
    );
  }
}
