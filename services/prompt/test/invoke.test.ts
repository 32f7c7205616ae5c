import { randomUUID } from 'node:crypto';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { invalidArgument, unavailable } from '@landfall/common/errors/errors.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { invoked, type Replica, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
const asked: string[] = [];

const usage = { inputTokens: 1000, cachedTokens: 400, outputTokens: 100 };
const ends = { finishReason: FinishReason.STOP, usage };

const good: Replica = async function* (request) {
  asked.push('good');
  yield { model: request.model, delta: 'an ' };
  yield { delta: 'answer' };
  yield ends;
};
const away: Replica = async function* (request) {
  asked.push('away');
  yield { model: request.model };
  throw unavailable('gone');
};
const halfway: Replica = async function* (request) {
  asked.push('halfway');
  yield { model: request.model, delta: 'half ' };
  throw unavailable('gone in the middle');
};
const picky: Replica = async function* (request) {
  asked.push('picky');
  yield { model: request.model };
  throw invalidArgument('sampling.temperature', 'is too warm');
};
/** Four samples, token by token in turn: two say 4 in different spacing, one 5, one nothing. */
const samples: Replica = async function* (request) {
  expect(request.sampling).toMatchObject({ n: 4, temperature: 0.7 });
  yield { model: request.model, index: 2, delta: '5' };
  yield { index: 0, delta: ' 4' };
  yield { index: 3, delta: '' };
  yield { index: 1, delta: '4\n' };
  yield ends;
};

beforeAll(async () => {
  const prices = { currency: 'CNY', models: { 'models:/good': { input: 2, cachedInput: 1, output: 10 } } };
  at = await stage(
    { good, away, halfway, picky, samples },
    { LANDFALL_PROMPT_PRICES: JSON.stringify(prices) },
  );
  await at?.prompts.createPrompt({ name: 'ask', draft: { messages: [{ role: 'user', template: '{q}' }] } });
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

const request = (deployment: string, more: object = {}) => ({
  name: 'ask',
  deployment,
  variables: { q: '问' },
  ...more,
});

test('the next deployment answers where one is away or not there; the log names who failed and what it cost', async (t) => {
  if (!at) return t.skip();
  const { text, resets, invocation } = await invoked(
    at,
    request('away', { fallbackDeployments: ['nobody', 'good'] }),
  );
  expect([text, resets]).toEqual(['an answer', 0]);
  expect(invocation).toMatchObject({
    deployment: 'good',
    model: 'models:/good/1.0.0',
    failedAttempts: [
      { deployment: 'away', error: 'UNAVAILABLE' },
      { deployment: 'nobody', error: 'NOT_FOUND' },
    ],
    // 600 new tokens at 2, 400 cached at 1, 100 out at 10, per million.
    cost: { currency: 'CNY' },
  });
  expect(invocation.cost!.amount).toBeCloseTo(0.0026, 10);
});

test('behind the first token nobody takes over unless asked, and then the caller is told to begin anew', async (t) => {
  if (!at) return t.skip();
  const fallbackDeployments = ['good'];
  const plain = invoked(at, request('halfway', { fallbackDeployments }));
  await expect(plain).rejects.toMatchObject({ code: status.UNAVAILABLE });
  const [logged] = (await at.prompts.listInvocations({ name: 'ask' })).invocations;
  expect(logged).toMatchObject({ deployment: 'halfway', output: 'half ', error: 'UNAVAILABLE' });
  const told = await invoked(at, request('halfway', { fallbackDeployments, fallBackAfterFirstToken: true }));
  expect(told).toMatchObject({ text: 'an answer', resets: 1, invocation: { output: 'an answer' } });
});

test('what is wrong with the request itself is not asked of others', async (t) => {
  if (!at) return t.skip();
  asked.length = 0;
  const wrong = invoked(at, request('picky', { fallbackDeployments: ['good'] }));
  await expect(wrong).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(asked).toEqual(['picky']);
});

test('samples vote: the most frequent answer wins, white space aside', async (t) => {
  if (!at) return t.skip();
  const { text, invocation } = await invoked(at, request('samples', { samples: 4 }));
  expect(text).toBe(' 4');
  expect(invocation.votes).toMatchObject([
    { output: ' 4', count: 2 },
    { output: '5', count: 1 },
    { output: '', count: 1 },
  ]);
});

test('a token answers from the log before and behind its commit, and after a restart', async (t) => {
  if (!at) return t.skip();
  asked.length = 0;
  const once = request('good', { requestId: randomUUID() });
  const first = await invoked(at, once);
  const again = await invoked(at, once);
  await at.prompts.listInvocations({});
  const behind = await invoked(at, once);
  await at.restart();
  const restarted = await invoked(at, once);
  for (const { text, invocation } of [again, behind, restarted]) {
    expect([text, invocation.id]).toEqual([first.text, first.invocation.id]);
  }
  expect(asked).toEqual(['good']);
});

test('what has ended is kept over a shutdown that follows at once', async (t) => {
  if (!at) return t.skip();
  const many = await Promise.all(Array.from({ length: 40 }, () => invoked(at!, request('good'))));
  await at.restart();
  const kept = await at.prompts.listInvocations({ pageSize: 500 });
  const ids = new Set(kept.invocations.map(({ id }) => id));
  expect(many.filter(({ invocation }) => !ids.has(invocation.id))).toEqual([]);
});

test('each filter gives exactly the rows that fit, newest first, over pages', async (t) => {
  if (!at) return t.skip();
  const { prompts } = at;
  const all = (await prompts.listInvocations({ pageSize: 500 })).invocations;
  const ids = async (filter: object) => {
    const found: string[] = [];
    let pageToken = '';
    do {
      const page = await prompts.listInvocations({ ...filter, pageSize: 7, pageToken });
      found.push(...page.invocations.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken);
    return found;
  };
  const where = (fits: (one: (typeof all)[number]) => boolean) => all.filter(fits).map(({ id }) => id);
  for (const [i, { id }] of all.entries()) {
    await prompts.scoreInvocation({ invocationId: id, score: { name: 'grade', value: i % 5 } });
  }
  const middle = all[Math.floor(all.length / 2)]!;
  const ms = Number(middle.createTime!.seconds) * 1000 + Math.floor(middle.createTime!.nanos / 1e6);
  const timeOf = (id: string) => Number.parseInt(id.replace('-', '').slice(0, 12), 16);
  expect(await ids({ error: '*' })).toEqual(where((one) => one.error !== ''));
  expect(await ids({ error: '-' })).toEqual(where((one) => one.error === ''));
  expect(await ids({ error: 'UNAVAILABLE' })).toEqual(where((one) => one.error === 'UNAVAILABLE'));
  expect(await ids({ deployment: 'good' })).toEqual(where((one) => one.deployment === 'good'));
  expect(await ids({ caller: 'key:editor' })).toEqual(where(() => true));
  expect(await ids({ caller: 'key:other' })).toEqual([]);
  expect(await ids({ startTime: timestampFromMs(ms) })).toEqual(where((one) => timeOf(one.id) >= ms));
  expect(await ids({ endTime: timestampFromMs(ms) })).toEqual(where((one) => timeOf(one.id) < ms));
  const graded = (low: number, high: number) =>
    where((one) => all.indexOf(one) % 5 >= low && all.indexOf(one) % 5 <= high);
  expect(await ids({ score: { name: 'grade', minimum: 2, maximum: 3 } })).toEqual(graded(2, 3));
  expect(await ids({ score: { name: 'grade', minimum: 4 }, deployment: 'good' })).toEqual(
    graded(4, 4).filter((id) => all.find((one) => one.id === id)!.deployment === 'good'),
  );
  const backwards = prompts.listInvocations({ startTime: timestampFromMs(ms), endTime: timestampFromMs(ms) });
  await expect(backwards).rejects.toMatchObject({ fieldViolations: [{ field: 'end_time' }] });
});
