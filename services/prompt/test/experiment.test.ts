import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { Broker, EVENT_STREAM } from '@landfall/common/events/broker.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { ExperimentState as State } from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { invoked, type Replica, type Stage, stage } from './stage.ts';

let at: Stage | undefined;

/** Says its prompt back; one that says `broken` fails. */
const echo: Replica = async function* (request) {
  const text = request.messages.map(({ content }) => content).join('');
  yield { model: request.model };
  if (text.includes('broken')) throw invalidArgument('messages', 'no model understands this');
  yield { delta: text };
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 5, outputTokens: 3 } };
};

beforeAll(async () => {
  at = await stage({ qa: echo });
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

/** A prompt with the versions 1.0.0, 1.1.0 and so on, and the label `live` at the first. */
async function newPrompt(...templates: string[]): Promise<string> {
  const name = `p-${randomUUID()}`;
  const draft = (template: string) => ({ messages: [{ role: 'user', template }] });
  await at!.prompts.createPrompt({ name, draft: draft(templates[0]!) });
  for (const template of templates.slice(1))
    await at!.prompts.createVersion({ name, draft: draft(template) });
  await at!.prompts.setLabel({ name, label: 'live', version: '1.0.0' });
  return name;
}

const ask = (name: string, subject: string, version = '@live') =>
  invoked(at!, { name, version, deployment: 'qa', variables: { q: '问' }, subject });
const arms = [
  { version: '1.0.0', weight: 1 },
  { version: '1.1.0', weight: 1 },
];
const quality = { kind: { case: 'score', value: 'quality' } } as const;
const start = async (name: string, more: object = {}) => {
  const request = { name, label: 'live', arms, goal: quality, ...more };
  return (await at!.experiments.startExperiment(request)).experiment!;
};
const now = async (id: string) => (await at!.experiments.getExperiment({ id })).experiment!;

async function eventsOf(id: string) {
  const broker = await Broker.connect(at!.natsUrl, 'test', createLogger('test', 'silent'));
  try {
    const consumer = await broker.js.consumers.get(EVENT_STREAM, {
      filter_subjects: 'landfall.prompt.experiment.changed.v1',
    });
    const found: { experimentId: string; state: string; version: string; revision: string }[] = [];
    for await (const message of await consumer.fetch({ max_messages: 1000, expires: 1000 })) {
      const event = message.json<(typeof found)[number]>();
      if (event.experimentId === id) found.push(event);
    }
    return found.map(({ state, version, revision }) => `${revision} ${state} ${version}`.trim());
  } finally {
    await broker[Symbol.asyncDispose]();
  }
}

test('invocations by the label are split, a subject stays with its version; others are not', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt('old {q}', 'new {q}');
  const { id } = await start(name);
  const subjects = Array.from({ length: 40 }, (_, i) => `user ${i}`);
  const first = await Promise.all(subjects.map((subject) => ask(name, subject)));
  await at.restart();
  const again = await Promise.all(subjects.map((subject) => ask(name, subject)));
  const versions = first.map(({ invocation }) => invocation.version);
  expect(again.map(({ invocation }) => invocation.version)).toEqual(versions);
  expect(new Set(versions)).toEqual(new Set(['1.0.0', '1.1.0']));
  for (const { text, invocation } of first) {
    expect(invocation).toMatchObject({ experiment: id, label: 'live' });
    expect(text).toBe(invocation.version === '1.0.0' ? 'old 问' : 'new 问');
    expect(invocation.durationMs).toBeGreaterThanOrEqual(invocation.firstTextMs);
    expect(invocation.firstTextMs).toBeGreaterThan(0);
  }
  await at.prompts.setLabel({ name, label: 'other', version: '1.0.0' });
  for (const version of ['1.1.0', '', '@other']) {
    expect((await ask(name, 'user 0', version)).invocation.experiment).toBe('');
  }
});

test('a version that people score higher wins, is promoted, and has all invocations from then on', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt('old {q}', 'new {q}');
  const requestId = randomUUID();
  const { id } = await start(name, { requestId, hypothesis: 'new words are liked' });
  expect((await start(name, { requestId, hypothesis: 'new words are liked' })).id).toBe(id);
  const { experiments, prompts } = at;
  await expect(experiments.promoteExperiment({ id })).rejects.toMatchObject({ reason: 'NO_WINNER' });
  for (let i = 0; (await now(id)).state === State.RUNNING && i < 400; i++) {
    const { invocation } = await ask(name, `user ${i}`);
    const value = invocation.version === '1.1.0' ? 9 : 3;
    await prompts.scoreInvocation({ invocationId: invocation.id, score: { name: 'quality', value } });
  }
  const won = await now(id);
  expect(won).toMatchObject({ state: State.WON, winner: '1.1.0' });
  expect(won.reason).toMatch(/^1\.1\.0 is better than 1\.0\.0 in score quality: 9 \(/);
  expect(won.arms[1]!.readings[0]).toMatchObject({ metric: 'score quality', high: 10 });
  const promoted = (await experiments.promoteExperiment({ id })).experiment!;
  expect(promoted).toMatchObject({ state: State.PROMOTED, winner: '1.1.0' });
  expect((await experiments.promoteExperiment({ id })).experiment).toEqual(promoted);
  expect((await prompts.getPrompt({ name })).prompt!.labels).toEqual({ live: '1.1.0' });
  const { invocation } = await ask(name, 'user 0');
  expect(invocation).toMatchObject({ version: '1.1.0', experiment: '' });
  expect(await eventsOf(id)).toEqual(['1 running', '2 won 1.1.0', '3 promoted 1.1.0']);
});

test('a version whose guard is broken is stopped by itself, and the label has its invocations again', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt('fine {q}', 'broken {q}');
  const guards = [{ kind: { case: 'errorRate', value: true }, margin: 0.05 }];
  const { id } = await start(name, { guards });
  let failures = 0;
  for (let i = 0; (await now(id)).state === State.RUNNING && i < 400; i++) {
    await ask(name, `user ${i}`).catch(() => failures++);
  }
  const returned = await now(id);
  expect(returned).toMatchObject({ state: State.RETURNED, winner: '' });
  expect(returned.reason).toMatch(
    /^1\.1\.0 is worse than 1\.0\.0 in error_rate by more than 5\.0 %: 100\.0 % \(/,
  );
  expect(failures).toBeGreaterThan(0);
  for (let i = 0; i < 20; i++) expect((await ask(name, `user ${i}`)).invocation.version).toBe('1.0.0');
  expect(await eventsOf(id)).toEqual(['1 running', '2 returned 1.1.0', '3 returned']);
});

test('versions that are alike end without a verdict', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt('one {q}', 'two {q}');
  const goal = { kind: { case: 'errorRate', value: true } };
  const { id } = await start(name, { goal, maxInvocations: 10n });
  for (let i = 0; (await now(id)).state === State.RUNNING && i < 200; i++) await ask(name, `user ${i}`);
  const { state, reason } = await now(id);
  expect(state).toBe(State.INCONCLUSIVE);
  expect(reason).toMatch(/^10 invocations of each version show no difference in error_rate/);
});

test('who moves the label ends the experiment; a person may return it', async (t) => {
  if (!at) return t.skip();
  const { experiments, prompts } = at;
  const name = await newPrompt('one {q}', 'two {q}', 'three {q}');
  const first = await start(name);
  await prompts.setLabel({ name, label: 'live', version: '1.2.0' });
  expect((await ask(name, 'user')).invocation).toMatchObject({ version: '1.2.0', experiment: '' });
  expect(await now(first.id)).toMatchObject({
    state: State.RETURNED,
    reason: 'the label live was moved to 1.2.0',
  });
  await prompts.setLabel({ name, label: 'live', version: '1.0.0' });
  const second = await start(name);
  await prompts.setLabel({ name, label: 'live', version: '1.1.0' });
  expect(await now(second.id)).toMatchObject({ state: State.PROMOTED, winner: '1.1.0' });
  await prompts.setLabel({ name, label: 'live', version: '1.0.0' });
  const third = await start(name);
  await experiments.returnExperiment({ id: third.id, reason: 'holidays' });
  expect((await now(third.id)).reason).toBe('key:editor returned it: holidays');
  await expect(experiments.promoteExperiment({ id: third.id, version: '1.1.0' })).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
  });
  const page = await experiments.listExperiments({ name, pageSize: 2 });
  expect(page.experiments.map(({ id }) => id)).toEqual([third.id, second.id]);
  const rest = await experiments.listExperiments({ name, pageSize: 2, pageToken: page.nextPageToken });
  expect(rest.experiments.map(({ id }) => id)).toEqual([first.id]);
});

test('where a subject counts once, so does each of its scores, and only the first', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt('one {q}', 'two {q}');
  const guards = [{ kind: { case: 'errorRate', value: true } }];
  const { id } = await start(name, { guards, oncePerSubject: true });
  const asked: Invocation[] = [];
  for (let i = 0; i < 5; i++) asked.push((await ask(name, 'the same')).invocation);
  await now(id);
  for (const { id: invocationId } of asked) {
    for (const value of [7, 8])
      await at.prompts.scoreInvocation({ invocationId, score: { name: 'quality', value } });
  }
  const { arms: seen } = await now(id);
  const own = seen.find(({ version }) => version === asked[0]!.version)!;
  expect(own.readings).toMatchObject([{ count: 1n, mean: 7 }, { count: 1n }]);
});

test('what can not be an experiment is refused with its field', async (t) => {
  if (!at) return t.skip();
  const name = await newPrompt('one {q}', 'two {q}');
  const refused: [object, object][] = [
    [{ arms: [arms[0], arms[0]] }, { fieldViolations: [{ field: 'arms[1].version' }] }],
    [{ goal: { ...quality, minimum: 5, maximum: 5 } }, { fieldViolations: [{ field: 'goal.maximum' }] }],
    [{ guards: [{ ...quality, margin: 9 }] }, { fieldViolations: [{ field: 'guards[0].margin' }] }],
    [{ arms: [arms[1], arms[0]] }, { code: status.FAILED_PRECONDITION }],
    [{ arms: [arms[0], { version: '9.0.0', weight: 1 }] }, { code: status.NOT_FOUND }],
    [{ label: 'none' }, { code: status.NOT_FOUND }],
    [{ name: 'nobody' }, { code: status.NOT_FOUND }],
  ];
  for (const [more, error] of refused) await expect(start(name, more)).rejects.toMatchObject(error);
  const { id } = await start(name);
  await expect(start(name)).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    reason: 'EXPERIMENT_RUNNING',
    metadata: { experiment: id },
  });
  await expect(now(randomUUID())).rejects.toMatchObject({ code: status.NOT_FOUND });
});
