import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { unavailable } from '@landfall/common/errors/errors.ts';
import { Broker, EVENT_STREAM } from '@landfall/common/events/broker.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { editor, invoked, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
let prompts: RpcClient<typeof PromptService>;
const asked: GenerateRequest[] = [];
let cancelled = 0;

/** A replica of the test's own: says its prompt back word by word; `fail` fails, `endless` goes on until it is left. */
async function* generate(request: GenerateRequest, context: CallContext) {
  asked.push(request);
  const text = request.messages.map((message) => message.content).join('|');
  if (text.includes('fail')) throw unavailable('this replica is broken');
  yield { model: request.model };
  try {
    for (let i = 0; text.includes('endless') || i < 3; i++) {
      context.signal.throwIfAborted();
      yield { delta: `${text}${i}` };
      await delay(5);
    }
  } finally {
    if (context.signal.aborted) cancelled += 1;
  }
  yield { finishReason: FinishReason.STOP, usage: { inputTokens: 5, outputTokens: 3 } };
}

beforeAll(async () => {
  at = await stage({ qa: generate });
  if (at) prompts = at.prompts;
});
beforeEach(() => {
  asked.length = 0;
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
});

const draft = (template: string) => ({ messages: [{ role: 'user', template }] });

const invoke = (request: Parameters<typeof prompts.invoke>[0]) => invoked(at!, request);

test('versions count up, never change, and are read by number and label', async (t) => {
  if (!at) return t.skip();
  const requestId = randomUUID();
  const first = await prompts.createPrompt({ requestId, name: 'life', draft: draft('一 {q}') });
  expect(first.version!.version).toBe('1.0.0');
  expect(await prompts.createPrompt({ requestId, name: 'life', draft: draft('一 {q}') })).toEqual(first);
  await expect(prompts.createPrompt({ name: 'life', draft: draft('x') })).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
  });
  const second = await prompts.createVersion({ name: 'life', draft: draft('二 {q}') });
  expect(second.version!.version).toBe('1.1.0');
  const taken = prompts.createVersion({ name: 'life', version: '1.0.0', draft: draft('x') });
  await expect(taken).rejects.toMatchObject({ code: status.ALREADY_EXISTS });
  await prompts.setLabel({ name: 'life', label: 'production', version: '1.0.0' });
  const render = async (version: string) =>
    (await prompts.renderPrompt({ name: 'life', version, variables: { q: '问' } })).messages[0]!.content;
  expect([await render(''), await render('1.0.0'), await render('@production')]).toEqual([
    '二 问',
    '一 问',
    '一 问',
  ]);
  await expect(prompts.getPrompt({ name: 'life', version: '@other' })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
});

test('a moved label is announced once for each move', async (t) => {
  if (!at) return t.skip();
  await prompts.createPrompt({ name: 'labelled', draft: draft('x') });
  await prompts.createVersion({ name: 'labelled', draft: draft('y') });
  for (const version of ['1.0.0', '1.0.0', '1.1.0'])
    await prompts.setLabel({ name: 'labelled', label: 'live', version });
  await using broker = await Broker.connect(at.natsUrl, 'reader', createLogger('test', 'silent'));
  const revisions = async () => {
    const consumer = await broker.js.consumers.get(EVENT_STREAM, {
      filter_subjects: 'landfall.prompt.label.moved.v1',
    });
    const messages = await consumer.fetch({ max_messages: 20, expires: 1000 });
    const seen: string[] = [];
    for await (const message of messages) {
      const event = message.json<{ name: string; toVersion: string; revision: string }>();
      if (event.name === 'labelled') seen.push(`${event.toVersion} ${event.revision}`);
    }
    return seen;
  };
  await expect.poll(revisions, { timeout: 10_000 }).toEqual(['1.0.0 1', '1.1.0 2']);
});

test('an invocation streams, is logged, scored, and repeated from the log', async (t) => {
  if (!at) return t.skip();
  await prompts.createPrompt({
    name: 'ask',
    draft: { ...draft('{q}'), sampling: { maxTokens: 7, temperature: 0.5 } },
  });
  const request = {
    requestId: randomUUID(),
    name: 'ask',
    deployment: 'qa',
    variables: { q: '问' },
    sampling: { maxTokens: 9 },
  };
  const { text, invocation } = await invoke(request);
  expect(text).toBe('问0问1问2');
  expect(invocation).toMatchObject({
    name: 'ask',
    version: '1.0.0',
    model: 'models:/qa/1.0.0',
    output: text,
    caller: 'key:editor',
    error: '',
  });
  expect(asked[0]!.sampling).toMatchObject({ maxTokens: 9, temperature: 0.5 });
  expect((await invoke(request)).text).toBe(text);
  expect(asked).toHaveLength(1);
  const other = invoke({ ...request, variables: { q: '别的' } });
  await expect(other).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });

  const score = (value: number) =>
    prompts.scoreInvocation({ invocationId: invocation.id, score: { name: 'quality', value, reason: '好' } });
  await expect(score(11)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  await score(4);
  await score(8);
  const { invocations } = await prompts.listInvocations({ name: 'ask' });
  expect(invocations).toHaveLength(1);
  expect(invocations[0]!.scores).toMatchObject([{ name: 'quality', value: 8, author: 'key:editor' }]);
  expect(invocations[0]!.rendered).toMatchObject([{ role: 'user', content: '问' }]);
});

test('a failed call and one that was left are logged as such, and leaving stops the work', async (t) => {
  if (!at) return t.skip();
  await prompts.createPrompt({ name: 'wild', draft: draft('{q}') });
  await expect(invoke({ name: 'wild', deployment: 'qa', variables: { q: 'fail' } })).rejects.toMatchObject({
    code: status.UNAVAILABLE,
  });
  const before = cancelled;
  for await (const part of prompts.invoke({ name: 'wild', deployment: 'qa', variables: { q: 'endless' } })) {
    if (part.delta) break;
  }
  await expect.poll(() => cancelled).toBe(before + 1);
  const errors = async () =>
    (await prompts.listInvocations({ name: 'wild' })).invocations.map((entry) => entry.error);
  await expect.poll(errors).toEqual(['CANCELLED', 'UNAVAILABLE']);
});

test('tenants see nothing of each other, and roles bound what they do', async (t) => {
  if (!at) return t.skip();
  await prompts.createPrompt({ name: 'private', draft: draft('x') });
  const foreign = { identity: { ...editor, tenant: 'other' } };
  await expect(prompts.getPrompt({ name: 'private' }, foreign)).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
  expect((await prompts.listPrompts({}, foreign)).prompts).toEqual([]);
  expect((await prompts.listInvocations({}, foreign)).invocations).toEqual([]);
  const viewer = { identity: { ...editor, role: Role.VIEWER } };
  const denied = { code: status.PERMISSION_DENIED };
  await expect(prompts.createPrompt({ name: 'x', draft: draft('x') }, viewer)).rejects.toMatchObject(denied);
  await expect(prompts.renderPrompt({ name: 'private' }, viewer)).rejects.toMatchObject(denied);
});

test('pages hold every prompt once, in order', async (t) => {
  if (!at) return t.skip();
  const identity = { identity: { ...editor, tenant: 'pages' } };
  const names = Array.from({ length: 7 }, (_, i) => `p-${i}`);
  for (const name of names) await prompts.createPrompt({ name, draft: draft('x') }, identity);
  const seen: string[] = [];
  let pageToken = '';
  do {
    const page = await prompts.listPrompts({ pageSize: 3, pageToken, namePrefix: 'p-' }, identity);
    seen.push(...page.prompts.map((prompt) => prompt.name));
    pageToken = page.nextPageToken;
  } while (pageToken);
  expect(seen).toEqual(names);
  const forged = prompts.listPrompts({ pageToken: Buffer.from("x' or 1=1").toString('base64url') }, identity);
  await expect(forged).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
});
