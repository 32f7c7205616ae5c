/** More than can be answered, for a minute: real processes, real admission, simulated steps. */

import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { MAX_BATCH } from './balance-engine.ts';
import { BenchReplicas } from './balance-replicas.ts';
import { quantile, type Report } from './report.ts';
import { promptOf } from './serve-load.ts';

const REPLICAS = 4;
const TIMES_CAPACITY = 3;
const WARM_MS = 5000;
const PEAK_MS = 12_000;
/** Requests in flight at the peak: all places are taken, and as many wait for the next. */
const PEAK_STREAMS = 2 * REPLICAS * MAX_BATCH;
const TARGET = { deployment: 'bench' };

/** How one phase went. */
interface Counts {
  tokens: number;
  answered: number;
  refused: number;
  refusalMs: number[];
  withRetryInfo: number;
  failed: Map<string, number>;
}

const noCounts = (): Counts => ({
  ...{ tokens: 0, answered: 0, refused: 0, withRetryInfo: 0 },
  ...{ refusalMs: [], failed: new Map() },
});

/** @param seconds how long three times the capacity is offered */
export async function overload(report: Report, seconds: number, random: () => number): Promise<void> {
  await using replicas = await BenchReplicas.start(REPLICAS, { LANDFALL_TEXT_MAX_QUEUE: '32' });
  const call = caller(replicas, random);
  const peak = await closedLoop(call, PEAK_STREAMS);
  report.figure('peak-goodput', peak.tokens, 'tokens/s');
  report.figure('peak-rate', peak.rate, 'requests/s');

  const counts = await openLoop(call, TIMES_CAPACITY * peak.rate, seconds * 1000, random);
  const goodput = counts.tokens / seconds;
  report.figure('overload-seconds', seconds, 's');
  report.figure('overload-offered', TIMES_CAPACITY * peak.rate, 'requests/s');
  report.figure('overload-answered', counts.answered, 'requests');
  report.figure('overload-refused', counts.refused, 'requests');
  report.figure('overload-refused-with-retry-info', counts.withRetryInfo, 'requests');
  for (const [code, count] of counts.failed) report.figure(`overload-failed-${code}`, count, 'requests');
  report.figure('overload-goodput', goodput, 'tokens/s');
  report.figure('overload-refusal-p50', quantile(counts.refusalMs, 0.5), 'ms');
  report.figure('overload-refusal-p99', quantile(counts.refusalMs, 0.99), 'ms');
  report.ratio('overload-goodput-over-peak', goodput, peak.tokens, 'tokens/s');
}

type CallOnce = (counts: Counts) => Promise<void>;

/** Short chats, so that many end within the minute. */
function caller({ client }: BenchReplicas, random: () => number): CallOnce {
  return async (counts) => {
    // Letters at random, so that no beginning is cached; each is a token.
    const prompt = promptOf(32 + Math.floor(random() * 33), random);
    const maxTokens = 16 + Math.floor(random() * 33);
    const request = { prompt, sampling: { maxTokens, ignoreEos: true } };
    const startMs = performance.now();
    let tokens = 0;
    try {
      for await (const { usage } of client.generate(TARGET, request, { timeoutMs: 30_000 }))
        tokens = usage?.outputTokens ?? tokens;
      counts.answered++;
      counts.tokens += tokens;
    } catch (error) {
      const known = error instanceof LandfallError ? error : undefined;
      if (known?.code !== status.RESOURCE_EXHAUSTED) {
        const code = known ? (status[known.code] ?? 'UNKNOWN') : 'UNKNOWN';
        counts.failed.set(code, (counts.failed.get(code) ?? 0) + 1);
        return;
      }
      counts.refused++;
      counts.refusalMs.push(performance.now() - startMs);
      if (known.retryAfterMs !== undefined) counts.withRetryInfo++;
    }
  };
}

/** As many calls at once as the replicas take and some. @returns what they answer in a second */
async function closedLoop(call: CallOnce, streams: number): Promise<{ tokens: number; rate: number }> {
  const counts = noCounts();
  const endMs = performance.now() + WARM_MS + PEAK_MS;
  const stream = async () => {
    while (performance.now() < endMs) await call(counts);
  };
  const all = Array.from({ length: streams }, stream);
  await delay(WARM_MS);
  const { tokens, answered } = counts;
  await delay(PEAK_MS);
  const seconds = PEAK_MS / 1000;
  const result = { tokens: (counts.tokens - tokens) / seconds, rate: (counts.answered - answered) / seconds };
  await Promise.all(all);
  return result;
}

/** Calls at random moments, whatever becomes of those before. What is counted has ended within the time. */
async function openLoop(
  call: CallOnce,
  perSecond: number,
  ms: number,
  random: () => number,
): Promise<Counts> {
  const counts = noCounts();
  const startMs = performance.now();
  const calls: Promise<void>[] = [];
  let nextMs = startMs;
  while (nextMs < startMs + ms) {
    nextMs += (-Math.log(1 - random()) / perSecond) * 1000;
    const waitMs = nextMs - performance.now();
    if (waitMs > 1) await delay(waitMs);
    calls.push(call(counts));
  }
  const ended = { ...counts, refusalMs: [...counts.refusalMs], failed: new Map(counts.failed) };
  await Promise.all(calls);
  return ended;
}
