import type { MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  FieldsContract_FieldType as FieldType,
  type OutputContractSchema,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { TestFolder, TestReplica, testConfig } from '../../text-inference/test/harness.ts';
import { writeTinyModel } from '../../text-inference/test/tiny-model.ts';
import { invoked, type Replica, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
const asked: GenerateRequest[] = [];
const ends = { finishReason: FinishReason.STOP, usage: { inputTokens: 10, outputTokens: 5 } };

/** Answers with these texts, one after the other, in pieces. */
const answers = (...texts: string[]): Replica => {
  return async function* (request) {
    const text = texts[Math.min(asked.length, texts.length - 1)]!;
    asked.push(request);
    yield { model: request.model };
    for (const delta of text.match(/.{1,4}/gs) ?? []) yield { delta };
    yield ends;
  };
};
const refuses: Replica = async function* (request) {
  if (request.constraint) {
    asked.push(request);
    throw invalidArgument('constraint.json_schema', 'this backend has no grammars');
  }
  yield* answers('{"label":"b"}')(request, undefined as never);
};
const votes: Replica = async function* (request) {
  asked.push(request);
  yield { model: request.model };
  const texts = ['nonsense', 'nonsense', 'nonsense', '{"label":"a","n":1}', '{ "n": 1, "label": "a" }'];
  for (const [index, delta] of texts.entries()) yield { index, delta };
  yield ends;
};

const schema = {
  type: 'object',
  properties: { label: { enum: ['a', 'b'] }, n: { type: 'integer' } },
  required: ['label'],
};
/** A real replica with a tiny model of random weights: what it says has a form only where decoding gives it one. */
let engine: TestReplica | undefined;
const weights = new TestFolder();
const real: Replica = async function* ({ messages, sampling, constraint }) {
  yield* engine!.client.generate({
    messages,
    ...(sampling ? { sampling } : {}),
    ...(constraint ? { constraint } : {}),
  });
};

const outputContract = { kind: { case: 'jsonSchema', value: JSON.stringify(schema) } } as const;

beforeAll(async () => {
  writeTinyModel(weights.join('base'));
  const config = testConfig(weights.join('home'), { modelFolder: weights.join('base') });
  engine = await TestReplica.start({ ...config, blockSize: 16 });
  at = await stage({
    real,
    good: answers('{"label":"a"}'),
    mends: answers('Label: a', '{"label":"a"}'),
    stubborn: answers('{"label":"c"}', 'never'),
    refuses,
    votes,
  });
  const messages = [{ role: 'user', template: 'classify {q}' }];
  await at?.prompts.createPrompt({ name: 'sort', draft: { messages, outputContract } });
  const selfConsistency = { samples: 5 };
  await at?.prompts.createPrompt({ name: 'vote', draft: { messages, outputContract, selfConsistency } });
});
beforeEach(() => {
  asked.length = 0;
});
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
  weights[Symbol.dispose]();
});

const request = (deployment: string, more: object = {}) => ({
  ...{ name: 'sort', deployment, variables: { q: 'x' } },
  ...more,
});

test('the model is held to the contract, and the value that the contract reads is kept', async (t) => {
  if (!at) return t.skip();
  const { text, invocation } = await invoked(at, request('good'));
  expect(text).toBe('{"label":"a"}');
  expect(asked.map(({ constraint }) => constraint?.kind.case)).toEqual(['jsonSchema']);
  const value = { kind: { case: 'structValue', value: { fields: { label: { kind: { value: 'a' } } } } } };
  expect(invocation).toMatchObject({ value, contractProblems: [], error: '' });
  expect(invocation.repair).toBeUndefined();
});

test('an answer that breaks it is never shown: its model mends it, once, knowing what was wrong', async (t) => {
  if (!at) return t.skip();
  const { text, resets, invocation } = await invoked(at, request('mends'));
  expect([text, resets]).toEqual(['{"label":"a"}', 0]);
  expect(asked).toHaveLength(2);
  const [, assistant, user] = asked[1]!.messages;
  expect(assistant).toMatchObject({ role: 'assistant', content: 'Label: a' });
  expect(user!.content).toMatch(/is not JSON/);
  expect(invocation).toMatchObject({
    output: '{"label":"a"}',
    repair: { output: 'Label: a', usage: { inputTokens: 10 } },
    usage: { inputTokens: 20, outputTokens: 10 },
  });
  expect(invocation.repair!.problems).toHaveLength(1);
});

test('one that breaks it twice is an error that says how, and both answers are logged', async (t) => {
  if (!at) return t.skip();
  await expect(invoked(at, request('stubborn'))).rejects.toMatchObject({
    code: status.ABORTED,
    reason: 'CONTRACT_BROKEN',
    message: expect.stringContaining('is not JSON'),
  });
  expect(asked).toHaveLength(2);
  const [logged] = (await at.prompts.listInvocations({ name: 'sort', error: 'ABORTED' })).invocations;
  expect(logged).toMatchObject({
    output: 'never',
    repair: { output: '{"label":"c"}', problems: [expect.stringContaining('"a", "b"')] },
    contractProblems: [expect.stringContaining('is not JSON')],
  });
});

test('a backend without grammars is asked without one, and its answer is checked', async (t) => {
  if (!at) return t.skip();
  const { text, invocation } = await invoked(at, request('refuses'));
  expect(text).toBe('{"label":"b"}');
  expect(invocation.failedAttempts).toEqual([]);
  expect(asked.map(({ constraint }) => constraint !== undefined)).toEqual([true, false]);
});

test("samples vote with the contract's value; those that break it have no vote", async (t) => {
  if (!at) return t.skip();
  const { text, invocation } = await invoked(at, { ...request('votes'), name: 'vote' });
  expect(asked[0]!.sampling).toMatchObject({ n: 5 });
  expect(text).toBe('{"label":"a","n":1}');
  expect(invocation.votes).toMatchObject([{ output: '{"label":"a","n":1}', count: 2 }]);
});

type Contract = MessageInitShape<typeof OutputContractSchema>;
const fields = [
  { name: 'verdict', label: '结论', type: FieldType.ENUM, values: ['合格', '不合格'] },
  { name: 'score', type: FieldType.NUMBER },
];
const contracts: Record<string, Contract> = {
  schema: outputContract,
  choice: { kind: { case: 'oneOf', value: { options: ['正面', '负面'] } } },
  expression: { kind: { case: 'regex', value: '[A-C]-[0-9]{2}' } },
  fields: { kind: { case: 'fields', value: { fields } } },
};

test.each(Object.entries(contracts))(
  'a real engine is held to a contract by %s, a model of random weights too',
  async (kind, contract) => {
    if (!at) return;
    const name = `real-${kind}`;
    const draft = { messages: [{ role: 'user', template: '{q}' }], outputContract: contract };
    await at.prompts.createPrompt({ name, draft });
    const sampling = { maxTokens: 60, temperature: 1.5, seed: 7n };
    const { text, invocation } = await invoked(at, { ...request('real'), name, sampling });
    expect(invocation.repair).toBeUndefined();
    expect(invocation.value).toBeDefined();
    expect(invocation.output).toBe(text);
  },
);

test('what such a model says without decoding being held breaks the contract; a repair that has no room is told', async (t) => {
  if (!at) return t.skip();
  const contract = { ...contracts.choice, unconstrained: true };
  const draft = { messages: [{ role: 'user', template: '{q}' }], outputContract: contract };
  await at.prompts.createPrompt({ name: 'free', draft });
  const sampling = { maxTokens: 10, temperature: 1.5, seed: 7n };
  await expect(invoked(at, { ...request('real'), name: 'free', sampling })).rejects.toMatchObject({
    reason: 'CONTRACT_BROKEN',
    message: expect.stringMatching(/must be one of 正面, 负面.*could not be asked for again.*tokens/s),
  });
  const [logged] = (await at.prompts.listInvocations({ name: 'free' })).invocations;
  expect(logged).toMatchObject({
    error: 'ABORTED',
    contractProblems: [expect.stringMatching(/正面/), expect.stringMatching(/again/)],
  });
  expect(logged!.output).not.toBe('');
});
