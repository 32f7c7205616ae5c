import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fromJsonString } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { Broker } from '@landfall/common/events/broker.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { DriftFoundSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { JobState } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  OptimizationMove as Move,
  type Optimization,
} from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import type { OptimizationTry } from '@landfall/proto/landfall/prompt/v1/optimization_try_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { invoked, type Replica, type Stage, stage } from './stage.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? randomInt(2 ** 31));
const random = randomOf(BigInt(seed), 'optimization');
const ends = { finishReason: FinishReason.STOP, usage: { inputTokens: 10, outputTokens: 2 } };
const ROWS = 60;

/** Every question, with what it was held to. */
const asked: { text: string; row: string | undefined; rewriting: boolean }[] = [];
/** Set while answers are held back. */
let gate: Promise<void> | undefined;

const rows = Array.from({ length: ROWS }, (_, i) => {
  const good = random() < 0.5;
  return { text: `第${i}件${good ? '好' : '坏'}事`, expected: good ? '正面' : '负面' };
});
const labelOf = (text: string) => (text.includes('好') ? '正面' : '负面');
/** The row that a question is about. */
const rowOf = (text: string) => text.match(/第\d+件[好坏]事/g)?.at(-1);

/** Knows what to do where it is told to judge; otherwise chats. An instruction is whatever is asked without a row. */
const model: Replica = async function* (request, { signal }) {
  const text = request.messages.at(-1)!.content;
  const rewriting = /写|说法/.test(text);
  const whole = request.messages.map(({ content }) => content).join('|');
  asked.push({ text: `${request.constraint ? 'held: ' : ''}${whole}`, row: rowOf(text), rewriting });
  if (gate) await Promise.race([gate, new Promise((end) => signal.addEventListener('abort', end))]);
  const told = text.startsWith('判断');
  const delta = rewriting ? '指令:随便聊聊{text}' : told || request.constraint ? labelOf(text) : '哦';
  yield { model: request.model, delta };
  yield ends;
};
/** Gets nothing right, whatever it is told. */
const hopeless: Replica = async function* (request) {
  yield { model: request.model, delta: '哦' };
  yield ends;
};

let at: Stage | undefined;
let dataset = '';

beforeAll(async () => {
  console.info(`LANDFALL_TEST_SEED=${seed}`);
  at = await stage({ model, hopeless }, { LANDFALL_DRIFT_CHECK_SECONDS: '1' });
  if (!at) return;
  const value = rows.map((row) => JSON.stringify(row)).join('\n');
  const created = await at.evaluations.createTestSet({ name: 'mood', source: { case: 'jsonLines', value } });
  dataset = created.testSet!.ref;
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});
beforeEach(() => {
  asked.length = 0;
});

let made = 0;
/** A new prompt that asks badly, with its label. */
async function poor(): Promise<string> {
  const name = `mood-${made++}`;
  await at!.prompts.createPrompt({ name, draft: { text: '{text}。你怎么看?' } });
  await at!.prompts.setLabel({ name, label: 'production', version: '1.0.0' });
  return name;
}

const request = (name: string, more: object = {}) => ({
  ...{ name, dataset, deployment: 'model', metric: 'exact_match', seed: BigInt(seed) },
  ...more,
});

async function triesOf({ id }: Optimization): Promise<OptimizationTry[]> {
  const tries: OptimizationTry[] = [];
  let pageToken = '';
  do {
    const page = await at!.evaluations.listOptimizationTries({ optimizationId: id, pageSize: 5, pageToken });
    tries.push(...page.tries);
    pageToken = page.nextPageToken;
  } while (pageToken);
  return tries;
}

async function until(id: string, fits: (optimization: Optimization) => boolean): Promise<Optimization> {
  for await (const { optimization } of at!.evaluations.watchOptimization({ id })) {
    if (fits(optimization!)) return optimization!;
  }
  throw new Error('the optimisation ended before');
}

test('what is better on rows that it has never seen becomes a version, and no label moves', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  const name = await poor();
  const once = request(name, { requestId: randomUUID(), moves: [Move.STRUCTURE, Move.EXAMPLES] });
  const { version, metrics, optimization } = await prompts.optimizePrompt(once);
  expect(metrics).toEqual({ exact_match: 1 });
  expect(optimization).toMatchObject({
    ...{ state: JobState.SUCCEEDED, fromVersion: '1.0.0', testSet: dataset, percent: 100 },
    ...{ exampleRows: 7, developmentRows: 23, heldOutRows: 30, firstDevelopment: 0, bestDevelopment: 1 },
    heldOut: { metric: 'exact_match', first: 0, second: 1, low: 1, high: 1, rows: 30 },
  });
  // Every answer counts, and each question was asked once.
  expect(optimization!.calls).toBe(asked.length);
  expect(new Set(asked.map(({ text }) => text)).size).toBe(asked.length);
  const reply = await prompts.getPrompt({ name });
  expect(reply.prompt!.labels).toEqual({ production: '1.0.0' });
  expect(reply.version).toMatchObject({ version, author: 'key:editor' });
  expect(reply.version!.changeLog).toMatch(/^Optimised from 1\.0\.0 .*30 held-out rows went from 0 to 1/);
  const tries = await triesOf(optimization!);
  const best = tries[optimization!.bestTry]!;
  expect(best).toMatchObject({ finished: true, score: 1, heldOutScore: 1, digest: reply.version!.digest });
  expect(best.draft!.messages).toEqual(reply.version!.messages);
  expect(tries.map(({ number }) => number)).toEqual(tries.map((_, i) => i));
  expect(new Set(tries.map(({ digest }) => digest)).size).toBe(tries.length);
  expect(tries.every(({ reason, finished, outcome }) => reason && (finished || outcome))).toBe(true);
  // A held-out row was asked by the first and the best version alone; a row that is shown as an example by none.
  const versions = new Map<string, number>();
  for (const { row } of asked) versions.set(row!, (versions.get(row!) ?? 0) + 1);
  expect([...versions.values()].filter((count) => count === 2).length).toBeGreaterThanOrEqual(30);
  const examples = new Set(
    tries.flatMap(
      ({ draft }) => draft!.fewShot?.examples.map((one) => rowOf(String(one.variables!.text))) ?? [],
    ),
  );
  expect(examples.size).toBeGreaterThan(0);
  for (const row of examples) expect(versions.has(row!)).toBe(false);
  // The same token is the same job.
  asked.length = 0;
  expect((await prompts.optimizePrompt(once)).optimization).toEqual(optimization);
  expect(asked).toEqual([]);
});

test('a constraint is found where the wording stays, and an instruction that helps nothing is given up', async (t) => {
  if (!at) return t.skip();
  const name = await poor();
  const moves = [Move.FORMAT, Move.INSTRUCTION];
  const { version, optimization } = await at.prompts.optimizePrompt(request(name, { moves }));
  const found = (await at.prompts.getPrompt({ name, version })).version!;
  expect(found.outputContract!.kind).toMatchObject({ case: 'oneOf', value: { options: ['正面', '负面'] } });
  const written = (await triesOf(optimization!)).filter(({ move }) => move === Move.INSTRUCTION);
  expect(written.map(({ draft }) => draft!.messages[0]!.template)).toContain('随便聊聊{{text}}\n{text}');
  expect(written.every(({ finished, outcome }) => !finished && outcome !== '')).toBe(true);
  expect(asked.filter(({ rewriting }) => rewriting).length).toBeGreaterThan(0);
  expect(optimization!.calls).toBe(asked.length);
});

test('where nothing is better no version is made, and it says so', async (t) => {
  if (!at) return t.skip();
  const name = await poor();
  const asking = request(name, { deployment: 'hopeless', budget: { maxRounds: 2, proposals: 4 } });
  const { version, optimization } = await at.prompts.optimizePrompt(asking);
  expect([version, optimization!.version, optimization!.state]).toEqual(['1.0.0', '', JobState.SUCCEEDED]);
  expect(optimization!.conclusion).toMatch(/^Nothing better was found .* rounds/);
  expect((await at.prompts.getPrompt({ name })).version!.version).toBe('1.0.0');
});

test('the budget holds, and what needs more than it has is refused', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  const name = await poor();
  const tight = request(name, { budget: { maxCalls: 100 }, moves: [Move.EXAMPLES] });
  const { optimization } = await prompts.optimizePrompt(tight);
  expect(optimization!.conclusion).toMatch(/the budget of 100 answers is spent/);
  expect(asked.length).toBeLessThanOrEqual(100);
  const refused = (more: object) => expect(prompts.optimizePrompt(request(name, more))).rejects;
  await refused({ budget: { maxCalls: 83 } }).toMatchObject({
    fieldViolations: [{ field: 'budget.max_calls' }],
  });
  await refused({ metric: 'beauty' }).toThrow(/metric: 'beauty' is none of exact_match/);
  await refused({ metric: '' }).toMatchObject({ code: status.INVALID_ARGUMENT });
  await refused({ metric: 'contract' }).toThrow(/no output contract/);
  const few = rows.slice(0, 7).map((row) => JSON.stringify(row));
  const source = { case: 'jsonLines' as const, value: [...few, ...few].join('\n') };
  const small = (await at.evaluations.createTestSet({ name: 'small', source })).testSet!.ref;
  await refused({ dataset: small }).toThrow(/at least 4 of each are needed/);
});

test('a restart goes on with the same search and asks nothing again; cancelling ends it', async (t) => {
  if (!at) return t.skip();
  const name = await poor();
  const more = { startOnly: true, concurrency: 4, moves: [Move.EXAMPLES, Move.STRUCTURE] };
  const { id } = (await at.prompts.optimizePrompt(request(name, more))).optimization!;
  await until(id, ({ tries }) => tries > 2);
  const open = Promise.withResolvers<void>();
  gate = open.promise;
  await at.restart();
  gate = undefined;
  open.resolve();
  const done = await until(id, ({ state }) => state > JobState.RUNNING);
  expect(done).toMatchObject({ state: JobState.SUCCEEDED, heldOut: { first: 0, second: 1 } });
  // What was in flight is asked again, nothing else.
  expect(asked.length - done.calls).toBeLessThanOrEqual(4);
  const other = await poor();
  const undisturbed = (await at.prompts.optimizePrompt(request(other, { ...more, startOnly: false })))
    .optimization!;
  const shape = (tries: OptimizationTry[]) =>
    tries.map(({ digest, score, rows: count, outcome }) => [digest, score, count, outcome]);
  expect(shape(await triesOf(done))).toEqual(shape(await triesOf(undisturbed)));

  const closed = Promise.withResolvers<void>();
  gate = closed.promise;
  const last = (await at.prompts.optimizePrompt(request(await poor(), more))).optimization!.id;
  await until(last, ({ state }) => state === JobState.RUNNING);
  const cancelled = (await at.evaluations.cancelOptimization({ id: last })).optimization!;
  gate = undefined;
  closed.resolve();
  expect(cancelled).toMatchObject({ state: JobState.CANCELLED, version: '' });
  expect((await at.evaluations.getOptimization({ id: last })).optimization).toEqual(cancelled);
  const { optimizations } = await at.evaluations.listOptimizations({ state: JobState.CANCELLED });
  expect(optimizations.map((one) => one.id)).toEqual([last]);
});

test('live scores that fall are found, and open a new round; a label that moves begins anew', async (t) => {
  if (!at) return t.skip();
  const { prompts, evaluations } = at;
  const name = await poor();
  const where = { name, label: 'production' };
  const optimize = request(name, { moves: [Move.STRUCTURE] });
  const watch = { ...where, score: 'liked', reference: 0.9, minimum: 0, maximum: 1, optimize };
  await evaluations.setDriftWatch({ watch });
  const score = async (value: number, times: number) => {
    for (let i = 0; i < times; i++) {
      const { invocation } = await invoked(at!, {
        name,
        version: '@production',
        deployment: 'model',
        variables: { text: '好' },
      });
      await prompts.scoreInvocation({ invocationId: invocation.id, score: { name: 'liked', value } });
    }
  };
  const looked = async (fits: (findings: NonNullable<NonNullable<typeof first>['findings']>) => boolean) => {
    for (;;) {
      const { watch: now } = await evaluations.getDriftWatch(where);
      if (fits(now!.findings!)) return now!.findings!;
      await delay(50);
    }
  };
  const first = (await evaluations.getDriftWatch(where)).watch;
  await score(1, 12);
  const calm = await looked(({ scores }) => scores === 12n);
  expect(calm).toMatchObject({ version: '1.0.0', reference: 0.9, mean: 1, optimizationId: '' });
  expect(calm.driftTime).toBeUndefined();
  await score(0, 25);
  const drifted = await looked(({ driftTime }) => driftTime !== undefined);
  expect(drifted.wealth).toBeGreaterThanOrEqual(100);
  await using broker = await Broker.connect(at.natsUrl, 'reader', createLogger('test', 'silent'));
  const events = await broker.js.consumers.get('LANDFALL', {
    filter_subjects: 'landfall.prompt.drift.found.v1',
  });
  const event = (await events.next({ expires: 10_000 }))!;
  expect(fromJsonString(DriftFoundSchema, event.string())).toMatchObject({
    ...{ tenant: 'acme', name, label: 'production', version: '1.0.0', score: 'liked', reference: 0.9 },
    optimizationId: drifted.optimizationId,
  });
  const done = await until(drifted.optimizationId, ({ state }) => state > JobState.RUNNING);
  expect(done).toMatchObject({ state: JobState.SUCCEEDED, author: 'drift:production', fromVersion: '1.0.0' });
  expect((await prompts.getPrompt({ name })).prompt!.labels).toEqual({ production: '1.0.0' });
  await prompts.setLabel({ ...where, version: done.version });
  const anew = await looked(({ version }) => version === done.version);
  expect(anew).toMatchObject({ scores: 0n, wealth: 1, optimizationId: '' });
  expect(await events.next({ expires: 1000 })).toBeNull();
  await evaluations.deleteDriftWatch(where);
  await expect(evaluations.getDriftWatch(where)).rejects.toMatchObject({ code: status.NOT_FOUND });
  const bad = { ...watch, reference: 0.01 };
  await expect(evaluations.setDriftWatch({ watch: bad })).rejects.toMatchObject({
    fieldViolations: [{ field: 'watch.reference' }],
  });
});
