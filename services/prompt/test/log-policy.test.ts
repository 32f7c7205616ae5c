import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { Database } from '@landfall/common/db/database.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { PromptLogService } from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
import { LogContent } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { InvocationSchema, PromptSchema, promptEntities, ScoreSchema } from '../src/db/entities.ts';
import { LogPolicySchema } from '../src/db/log-entities.ts';
import { promptMigrations } from '../src/db/migrations.ts';
import { firstId } from '../src/domain/invocation-search.ts';
import { sweepLog } from '../src/domain/sweep-log.ts';
import { invoked, type Replica, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
let logs: RpcClient<typeof PromptLogService>;
const questions: string[] = [];
let judgeFails = 0;

const echo: Replica = async function* (request) {
  yield { model: request.model, delta: request.messages.map(({ content }) => content).join('') };
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 5, outputTokens: 3 } };
};
const judge: Replica = async function* (request) {
  questions.push(request.messages[0]!.content);
  if (judgeFails > 0) {
    judgeFails--;
    yield { model: request.model, delta: 'no idea' };
    return;
  }
  yield { model: request.model, delta: '8\nclear and short' };
};

beforeAll(async () => {
  at = await stage({ qa: echo, judge });
  if (at) logs = at.channel.client(PromptLogService);
});
beforeEach(() => {
  questions.length = 0;
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

async function newPrompt(): Promise<string> {
  const name = `p-${randomUUID()}`;
  await at!.prompts.createPrompt({ name, draft: { messages: [{ role: 'user', template: '{q}' }] } });
  return name;
}
const ask = (name: string, q: string, more: object = {}) =>
  invoked(at!, { name, deployment: 'qa', variables: { q }, ...more });
const logged = async (name: string) => (await at!.prompts.listInvocations({ name })).invocations;
const prompt = (value: string) => ({ target: { case: 'prompt', value } }) as const;

const SECRET = '我的邮箱是 li.wei@example.com,电话 13812345678';

test('a masking policy keeps no personal data in the log, for the caller nothing changes', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt();
  await logs.setLogPolicy({ policy: { target: prompt(name), content: LogContent.MASKED } });
  const requestId = randomUUID();
  const { text } = await ask(name, SECRET, { requestId });
  expect(text).toBe(SECRET);
  const again = await ask(name, SECRET, { requestId });
  expect(again.text).toBe('我的邮箱是 [EMAIL],电话 [PHONE]');
  const [entry] = await logged(name);
  expect(entry).toMatchObject({ content: LogContent.MASKED, output: again.text });
  expect(JSON.stringify(entry!.rendered)).not.toMatch(/li\.wei|138123/);
  expect(entry!.variables).toEqual({ q: again.text });
});

test('a policy that keeps no texts keeps counts and scores; a repeat is told that there is no answer', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt();
  await logs.setLogPolicy({ policy: { target: prompt(name), content: LogContent.NONE } });
  const request = { requestId: randomUUID() };
  const { invocation } = await ask(name, SECRET, request);
  await at.prompts.scoreInvocation({ invocationId: invocation.id, score: { name: 'quality', value: 7 } });
  const [entry] = await logged(name);
  expect(entry).toMatchObject({
    content: LogContent.NONE,
    output: '',
    rendered: [],
    usage: { inputTokens: 5 },
  });
  expect(entry!.variables).toBeUndefined();
  expect(entry!.scores).toMatchObject([{ name: 'quality', value: 7 }]);
  const kept = { code: status.FAILED_PRECONDITION, reason: 'ANSWER_NOT_KEPT' };
  await expect(ask(name, SECRET, request)).rejects.toMatchObject(kept);
  const functions = [{ kind: { case: 'length', value: { maximum: 9 } } }] as const;
  await expect(
    logs.computeScores({ invocationId: invocation.id, functions: [...functions] }),
  ).rejects.toMatchObject({ code: status.FAILED_PRECONDITION });
});

test('policies are listed, deleted and on record, and bounds are kept', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt();
  const target = prompt(name);
  const keepFor = durationFromMs(86_400_000);
  const { policy } = await logs.setLogPolicy({ policy: { target, content: LogContent.MASKED, keepFor } });
  expect(policy).toMatchObject({ target, keepFor: { seconds: 86400n }, author: 'key:editor' });
  expect((await logs.listLogPolicies({ target })).policies).toEqual([policy]);
  await logs.deleteLogPolicy({ target });
  await logs.deleteLogPolicy({ target });
  expect((await logs.listLogPolicies({ target })).policies).toEqual([]);
  const short = { target, keepFor: durationFromMs(1000) };
  await expect(logs.setLogPolicy({ policy: short })).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  const other = { target: prompt('nobody'), content: LogContent.NONE };
  await expect(logs.setLogPolicy({ policy: other })).rejects.toMatchObject({ code: status.NOT_FOUND });
});

test('what is older than its policy keeps is deleted with its scores, by the nearest policy alone', async (t) => {
  const place = await testDatabase();
  if (!place) return t.skip();
  await using _place = place;
  const database = await Database.open({
    ...{ service: 'prompt', url: place.url, file: join(place.folder, 'prompt.sqlite') },
    ...{ entities: promptEntities, migrations: promptMigrations },
  });
  await using _database = database;
  const now = Date.UTC(2026, 0, 31);
  const day = 86_400_000;
  const names = ['short', 'long', 'ever'];
  const idOf = (name: string, days: number, i: number) =>
    `${firstId(now - days * day).slice(0, -12)}${names.indexOf(name)}${String(i).padStart(11, '0')}`;
  await database.transaction(async (em) => {
    for (const name of names) {
      const folder = name === 'ever' ? 'archive' : 'live';
      const about = { description: '', task: 0, latestVersion: '', createdMs: 0 };
      await em.insert(PromptSchema, { tenant: 'acme', name, folder, ...about });
      const rows = [1, 40].flatMap((days) =>
        Array.from({ length: 600 }, (_, i) => ({
          ...{ id: idOf(name, days, i), tenant: 'acme', name, version: '1.0.0', deployment: 'qa' },
          ...{ caller: '', error: '', failed: false, requestId: null, requestDigest: '', entry: '{}' },
          createdMs: 0,
        })),
      );
      for (let i = 0; i < rows.length; i += 400)
        await em.insertMany(InvocationSchema, rows.slice(i, i + 400));
      for (const { id: invocationId } of [rows[0]!, rows[600]!]) {
        const score = { name: 'quality', author: 'a', tenant: 'acme', prompt: name, value: 5, reason: '' };
        await em.insert(ScoreSchema, { invocationId, ...score, createdMs: 0 });
      }
    }
    const policy = (target: string, days: number | null) =>
      em.insert(LogPolicySchema, {
        ...{ tenant: 'acme', target, content: LogContent.ALL, author: 'a', changedMs: 0 },
        keepForMs: days === null ? null : days * day,
      });
    await policy('folders/live', 30);
    await policy('prompts/long', 60);
    await policy('folders/archive', null);
  });
  expect(await sweepLog(database, now, new AbortController().signal)).toBe(600);
  const counts = await database.read((em) =>
    Promise.all(
      names.flatMap((name) => [
        em.count(InvocationSchema, { name }),
        em.count(ScoreSchema, { tenant: 'acme', prompt: name }),
      ]),
    ),
  );
  expect(counts).toEqual([600, 1, 1200, 2, 1200, 2]);
  expect(await sweepLog(database, now, new AbortController().signal)).toBe(0);
});

test('new invocations get the scores of their policies, by code with them and by a judge behind, over restarts', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt();
  const functions = [{ name: 'short', kind: { case: 'length', value: { maximum: 5 } } }] as const;
  const policy = {
    prompt: name,
    name: 'live',
    functions: [...functions],
    judge: { deployment: 'judge', rubric: 'brief?' },
  };
  await ask(name, 'before');
  await logs.setScoringPolicy({ policy });
  judgeFails = 1;
  const first = (await ask(name, 'hi')).invocation.id;
  const [entry] = await logged(name);
  expect(entry!.scores).toMatchObject([{ name: 'short', value: 1, author: 'policy:live' }]);
  await expect.poll(() => questions.length).toBe(1);
  await at.restart();
  logs = at.channel.client(PromptLogService);
  const second = (await ask(name, 'a long answer')).invocation.id;
  const scoresOf = async (id: string) =>
    (await logged(name)).find((one) => one.id === id)!.scores.map((one) => `${one.name} ${one.value}`);
  // The first judge's reply had no mark: it is asked again some seconds later.
  await expect.poll(() => scoresOf(second), { timeout: 20_000 }).toEqual(['short 0', 'quality 8']);
  await expect.poll(() => scoresOf(first), { timeout: 20_000 }).toEqual(['short 1', 'quality 8']);
  expect(questions.at(-1)).toMatch(/brief\?/);
  const all = await logged(name);
  expect(all.find(({ rendered }) => rendered[0]!.content === 'before')!.scores).toEqual([]);
  await logs.deleteScoringPolicy({ prompt: name, name: 'live' });
  expect((await logs.listScoringPolicies({ prompt: name })).policies).toEqual([]);
});

test('about the share that is asked for is scored', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt();
  const functions = [{ kind: { case: 'length', value: { maximum: 5 } } }] as const;
  await logs.setScoringPolicy({
    policy: { prompt: name, name: 'some', sampleRate: 0.5, functions: [...functions] },
  });
  for (let i = 0; i < 10; i++) await Promise.all(Array.from({ length: 8 }, () => ask(name, 'x')));
  const scored = (await at.prompts.listInvocations({ name, pageSize: 500, score: { name: 'length' } }))
    .invocations;
  // Outside of these bounds once in 10,000,000 times.
  expect(scored.length).toBeGreaterThan(15);
  expect(scored.length).toBeLessThan(65);
});

test('scores are computed at any later time, with expected answers and a judge', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt();
  const { id: invocationId } = (await ask(name, '负面')).invocation;
  const { invocation } = await logs.computeScores({
    invocationId,
    functions: [{ kind: { case: 'exactMatch', value: {} } }, { kind: { case: 'bleu', value: {} } }],
    judge: { deployment: 'judge' },
    judgeScore: 'taste',
    expected: ['负面'],
  });
  const scores = invocation!.scores.map((one) => [one.name, Math.round(one.value), one.author]);
  expect(scores.sort()).toEqual([
    ['bleu', 100, 'key:editor'],
    ['exact_match', 1, 'key:editor'],
    ['taste', 8, 'key:editor'],
  ]);
  expect(questions[0]).toContain('负面');
});

test('what no score can come of is refused with its field', async (t) => {
  if (!at) return t.skip();
  const prompt = await newPrompt();
  const length = { kind: { case: 'length', value: { maximum: 5 } } } as const;
  const refused: [object, string][] = [
    [{}, 'policy.functions'],
    [{ functions: [{ kind: { case: 'bleu', value: {} } }] }, 'policy.functions[0]'],
    [{ functions: [length, length] }, 'policy.functions[1].name'],
    [
      { functions: [{ kind: { case: 'regex', value: { pattern: '(a+)+b' } } }] },
      'policy.functions[0].regex.pattern',
    ],
    [{ functions: [{ ...length, name: 'quality' }] }, 'policy.functions[0].name'],
  ];
  for (const [more, field] of refused) {
    const policy = { prompt, name: 'bad', ...more };
    await expect(logs.setScoringPolicy({ policy })).rejects.toMatchObject({ fieldViolations: [{ field }] });
  }
});
