/** Faults that touch replicas, under load, through the real balancer, client and service; steps are simulated. */

import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterEach, expect, test, vi } from 'vitest';
import { until } from '../../services/balancer/test/mesh.ts';
import { lcg } from './bench/random.ts';
import { quantile } from './bench/report.ts';
import { DEPLOYMENT, LoadedMesh, type Tally } from './replica-load.ts';

// Processes are started and waited for; on a busy machine each takes seconds.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 120_000 });

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`replica faults: LANDFALL_TEST_SEED=${seed}\n`);

const LOAD = { perSecond: 10, ms: 14_000, random: lcg(seed) };
let mesh: LoadedMesh | undefined;
/** Undoes what was done to processes. */
let undo: () => void = () => {};

afterEach(async () => {
  undo();
  undo = () => {};
  await mesh?.[Symbol.asyncDispose]();
  mesh = undefined;
});

function print(name: string, { latencies, ...tally }: Tally, more: object = {}): void {
  const ms = { p50Ms: Math.round(quantile(latencies, 0.5)), p99Ms: Math.round(quantile(latencies, 0.99)) };
  process.stdout.write(`${name}: ${JSON.stringify({ ...tally, ...ms, ...more })}\n`);
}

function expectHardlyNoticed({ early, late, lateFailed, retries }: Tally): void {
  expect(late).toBeGreaterThan(30);
  expect(lateFailed).toBeLessThanOrEqual(late / 100);
  expect(retries).toBeLessThanOrEqual((early + late) / 5);
}

/** Requests that a replica has finished since its start. */
async function finished(pid: number): Promise<number> {
  const channel = await mesh!.directTo(pid);
  const { load } = await channel.client(TextInferenceService).getLoad({});
  return Number(load!.finished);
}

test('a killed replica is hardly noticed', async (t) => {
  mesh = await LoadedMesh.start(3);
  if (!mesh) return t.skip();
  const [victim] = await mesh.pids();
  const tally = await mesh.load(LOAD, () => process.kill(victim!, 'SIGKILL'));
  print('one of three replicas killed', tally);
  expectHardlyNoticed(tally);
  // A call whose answer had begun can't begin anew: at most those that ran there.
  expect(tally.earlyFailed).toBeLessThanOrEqual(16);
});

test('a stopped replica is hardly noticed', async (t) => {
  mesh = await LoadedMesh.start(3, { LANDFALL_REPLICA_UNRESPONSIVE_MS: '600000' });
  if (!mesh) return t.skip();
  const [victim] = await mesh.pids();
  undo = () => void process.kill(victim!, 'SIGCONT');
  const tally = await mesh.load(LOAD, () => process.kill(victim!, 'SIGSTOP'));
  print('one of three replicas stopped (SIGSTOP)', tally);
  expectHardlyNoticed(tally);
});

test('a replica that is ten times slower soon gets almost nothing', async (t) => {
  mesh = await LoadedMesh.start(3, { LANDFALL_REPLICA_UNRESPONSIVE_MS: '600000' });
  if (!mesh) return t.skip();
  const [victim] = (await mesh.pids()) as [number];
  let finishedLate = 0;
  let begun = 0;
  const slow = () => {
    // It runs a tenth of the time, as on a machine that others have taken.
    let turn = 0;
    const timer = setInterval(() => {
      const runs = turn++ % 10 === 0;
      process.kill(victim, runs ? 'SIGCONT' : 'SIGSTOP');
    }, 20);
    undo = () => {
      clearInterval(timer);
      process.kill(victim, 'SIGCONT');
    };
    setTimeout(() => void finished(victim).then((count) => (begun = count)), 5000);
  };
  const tally = await mesh.load(LOAD, slow);
  undo();
  undo = () => {};
  finishedLate = (await finished(victim)) - begun;
  print('one of three replicas ten times slower', tally, { finishedThereLate: finishedLate });
  expectHardlyNoticed(tally);
  expect(finishedLate).toBeLessThan(tally.late / 6);
});

test('SIGTERM under load: no call in flight fails', async (t) => {
  mesh = await LoadedMesh.start(3);
  if (!mesh) return t.skip();
  const [victim] = await mesh.pids();
  const tally = await mesh.load({ ...LOAD, ms: 8000 }, () => process.kill(victim!, 'SIGTERM'));
  print('one of three replicas told to stop (SIGTERM)', tally);
  expect(tally.earlyFailed + tally.lateFailed).toBe(0);
  expect(tally.retries).toBeLessThanOrEqual((tally.early + tally.late) / 5);
});

test('the work of callers that have gone stops', async (t) => {
  mesh = await LoadedMesh.start(1);
  if (!mesh) return t.skip();
  const [pid] = await mesh.pids();
  const client = (await mesh.directTo(pid!)).client(TextInferenceService);
  const over = new AbortController();
  const request = { prompt: 'x', sampling: { maxTokens: 1000, ignoreEos: true } };
  const calls = Array.from({ length: 8 }, async () => {
    for await (const _ of mesh!.client.generate({ deployment: DEPLOYMENT }, request, {
      signal: over.signal,
    }));
  });
  const results = Promise.allSettled(calls);
  await until(async () => (await client.getLoad({})).load!.running === 8);
  const goneMs = performance.now();
  over.abort();
  await until(async () => {
    const { running, queued } = (await client.getLoad({})).load!;
    return running + queued === 0;
  });
  const ms = Math.round(performance.now() - goneMs);
  process.stdout.write(`eight callers gone: their work stopped after ${ms} ms (steps of 48 ms)\n`);
  expect((await results).every((result) => result.status === 'rejected')).toBe(true);
  expect(Number((await client.getLoad({})).load!.outputTokens)).toBeLessThan(8 * 1000);
});

test('overload is refused with a time to come again, and nothing else fails', async (t) => {
  mesh = await LoadedMesh.start(2, { LANDFALL_TEXT_MAX_QUEUE: '4', LANDFALL_TEXT_MAX_BATCH: '4' });
  if (!mesh) return t.skip();
  const tally = await mesh.load({ ...LOAD, perSecond: 60, ms: 8000 }, () => {});
  print('two replicas, several times what they can do', tally);
  expect(tally.refused).toBeGreaterThan(50);
  expect(tally.refusedWithRetryInfo).toBe(tally.refused);
  expect(tally.earlyFailed + tally.lateFailed).toBe(0);
  expect(tally.latencies.length).toBeGreaterThan(50);
  expect(tally.retries).toBeLessThanOrEqual((tally.early + tally.late) / 5);
});
