/** Constraints, several answers and penalties through the whole service with a real model, tiny and random. */

import type { MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type {
  GenerateRequestSchema,
  GenerateResponse,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestFolder, TestReplica, testConfig, until } from './harness.ts';
import { random, writeTinyModel } from './tiny-model.ts';

const folder = new TestFolder();
let replica: TestReplica;

beforeAll(async () => {
  writeTinyModel(folder.join('base'));
  const config = testConfig(folder.join('home'), { modelFolder: folder.join('base'), maxQueue: 32 });
  replica = await TestReplica.start({ ...config, blockSize: 16 });
});

afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

type Init = MessageInitShape<typeof GenerateRequestSchema>;
type Kind = NonNullable<NonNullable<Init['constraint']>['kind']>;

const answer = (init: Init): Promise<GenerateResponse[]> =>
  Array.fromAsync(replica.client.generate({ prompt: 'Say: ', ...init }));
const text = (replies: GenerateResponse[], index = 0) =>
  replies
    .filter((r) => r.index === index)
    .map((r) => r.delta)
    .join('');
const schema = (value: unknown): Kind => ({ case: 'jsonSchema', value: JSON.stringify(value) });
const seedOfRun = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
console.log(`LANDFALL_TEST_SEED=${seedOfRun}`);

describe('a constraint', () => {
  const report = {
    type: 'object',
    properties: {
      name: { type: 'string', maxLength: 4 },
      age: { type: 'integer', minimum: 18, maximum: 120 },
      tags: { type: 'array', items: { enum: ['高', 'low'] }, maxItems: 2 },
    },
    required: ['name', 'age'],
    additionalProperties: false,
  };

  test('holds greedy and drawn outputs to a JSON schema', async () => {
    const validate = new Ajv().compile(report);
    const next = random(seedOfRun);
    const runs = Array.from({ length: 12 }, (_, i) => ({
      sampling: { maxTokens: 100, temperature: i === 0 ? 0 : 2, seed: BigInt(Math.floor(next() * 1e9)) },
      constraint: { kind: schema(report) },
    }));
    const answers = await Promise.all(runs.map(answer));
    for (const replies of answers) {
      expect(replies.at(-1)!.finishReason).toBe(FinishReason.STOP);
      expect(validate(JSON.parse(text(replies))), text(replies)).toBe(true);
    }
    expect(new Set(answers.map((replies) => text(replies))).size).toBeGreaterThan(6);
  });

  test('holds outputs to a regular expression, a choice, any object', async () => {
    const sampling = { maxTokens: 60, temperature: 3, seed: 5n };
    const regex = await answer({
      sampling,
      constraint: { kind: { case: 'regex', value: '[高低]{2}-\\d{3}' } },
    });
    expect(text(regex)).toMatch(/^[高低]{2}-\d{3}$/u);
    const options = ['yes', 'no', '也许'];
    const choice = await answer({ sampling, constraint: { kind: { case: 'choice', value: { options } } } });
    expect(options).toContain(text(choice));
    const object = await answer({ sampling, constraint: { kind: { case: 'jsonObject', value: true } } });
    expect(text(object)[0]).toBe('{');
  });

  test('leaves a beginning of a valid text where max_tokens ends it', async () => {
    const replies = await answer({
      sampling: { maxTokens: 7, temperature: 1 },
      constraint: { kind: { case: 'regex', value: '(ab|cd){10}' } },
    });
    expect(replies.at(-1)!.finishReason).toBe(FinishReason.LENGTH);
    expect(text(replies)).toMatch(/^(ab|cd){3}[ac]$/);
  });

  test('changes no log-probability, and no output beside it', async () => {
    const plain = { sampling: { maxTokens: 12, topLogprobs: 1 }, prompt: 'abc' };
    const alone = await answer(plain);
    const [again, held] = await Promise.all([
      answer(plain),
      answer({ ...plain, constraint: { kind: { case: 'regex', value: '[a-f]{12}' } } }),
    ]);
    expect(text(again!)).toBe(text(alone));
    const first = (replies: GenerateResponse[]) => replies[0]!.logprobs[0]!;
    expect(first(held!).top[0]!.logprob).toBeCloseTo(first(alone).logprob, 5);
    expect(first(held!).logprob).toBeLessThanOrEqual(first(alone).logprob);
  });

  test('with guesses looked up gives what it gives without', async () => {
    const held = (promptLookup: number) =>
      answer({
        prompt: 'abcabcabcabc',
        sampling: { maxTokens: 24, promptLookup },
        constraint: { kind: { case: 'regex', value: '[abc]{20,}' } },
      });
    expect(text(await held(4))).toBe(text(await held(0)));
  });
});

const REFUSED: [string, Init, string][] = [
  [
    'a recursive schema',
    { constraint: { kind: schema({ properties: { x: { $ref: '#' } } }) } },
    'constraint.json_schema',
  ],
  ['an unknown keyword', { constraint: { kind: schema({ not: {} }) } }, 'constraint.json_schema'],
  ['no JSON', { constraint: { kind: { case: 'jsonSchema', value: '{"type":' } } }, 'constraint.json_schema'],
  ['a schema that nothing fulfils', { constraint: { kind: schema(false) } }, 'constraint.json_schema'],
  [
    'a large pattern',
    { constraint: { kind: { case: 'regex', value: '((a{99}){99}){99}' } } },
    'constraint.regex',
  ],
  [
    'a repetition of a repetition',
    { constraint: { kind: { case: 'regex', value: '(a+)+b' } } },
    'constraint.regex',
  ],
  [
    'one in the pattern of a schema',
    { constraint: { kind: schema({ type: 'string', pattern: '^((a*))*$' }) } },
    'constraint.json_schema',
  ],
  ['look-ahead', { constraint: { kind: { case: 'regex', value: '(?=a)b' } } }, 'constraint.regex'],
  ['a back-reference', { constraint: { kind: { case: 'regex', value: '(a)\\1' } } }, 'constraint.regex'],
  [
    'an empty choice',
    { constraint: { kind: { case: 'choice', value: { options: [] } } } },
    'constraint.choice.options',
  ],
  [
    'ignore_eos beside it',
    { constraint: { kind: { case: 'regex', value: 'a' } }, sampling: { ignoreEos: true } },
    'sampling.ignore_eos',
  ],
  ['a bias outside the vocabulary', { sampling: { logitBias: { 272: 1 } } }, 'sampling.logit_bias[272]'],
  ['n of 1e9', { sampling: { n: 1e9 } }, 'sampling.n'],
  ['min_p of 2', { sampling: { minP: 2 } }, 'sampling.min_p'],
  [
    'a penalty that is no number',
    { sampling: { frequencyPenalty: Number.NaN } },
    'sampling.frequency_penalty',
  ],
];

test.each(REFUSED)('%s is refused by field before anything is queued', async (_, init, field) => {
  const error = await answer(init).catch((e: unknown) => e);
  expect(error).toMatchObject({ code: status.INVALID_ARGUMENT });
  expect(JSON.stringify(error)).toContain(field);
  expect((await replica.client.getLoad({})).load).toMatchObject({ running: 0, queued: 0 });
});

test('an expression that has many ways to the same text costs nothing', async () => {
  const replies = await answer({
    sampling: { maxTokens: 20, temperature: 2, seed: 3n },
    constraint: { kind: { case: 'regex', value: '(a|a|aa?)+b' } },
  });
  expect(text(replies)).toMatch(/^a+b?$/);
});

describe('n answers', () => {
  test('come interleaved by index, the first as it comes alone, with one usage over all', async () => {
    const sampling = { maxTokens: 10, temperature: 1.5, seed: 77n, ignoreEos: true };
    const alone = await answer({ sampling });
    const replies = await answer({ sampling: { ...sampling, n: 4 } });
    expect(text(replies, 0)).toBe(text(alone));
    expect(new Set([0, 1, 2, 3].map((i) => text(replies, i))).size).toBe(4);
    const ends = replies.filter((r) => r.finishReason !== FinishReason.UNSPECIFIED);
    expect(ends.map((r) => r.index).sort()).toEqual([0, 1, 2, 3]);
    expect(replies.filter((r) => r.usage).length).toBe(1);
    expect(replies.at(-1)!.usage).toMatchObject({ outputTokens: 40 });
    expect(replies.filter((r) => r.model !== '').length).toBe(1);
    const again = await answer({ sampling: { ...sampling, n: 4 } });
    for (const i of [1, 2, 3]) expect(text(again, i)).toBe(text(replies, i));
  });

  test('stop all when the caller leaves', async () => {
    const running = async () => (await replica.client.getLoad({})).load!;
    for await (const _ of replica.client.generate({
      prompt: 'abc',
      sampling: { n: 4, maxTokens: 100, ignoreEos: true },
    }))
      break;
    await until(async () => {
      const load = await running();
      return load.running === 0 && load.queued === 0;
    });
  });

  test('each takes a place of the queue', async () => {
    const calls = await Promise.allSettled(
      [1, 2, 3].map(() => answer({ sampling: { n: 16, maxTokens: 30, ignoreEos: true } })),
    );
    const refused = calls.filter((call) => call.status === 'rejected');
    expect(refused.length).toBe(1);
    expect(refused[0]!.reason).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    // The places are given back.
    expect((await answer({ sampling: { n: 16, maxTokens: 2 } })).at(-1)!.usage).toBeDefined();
  });
});

test('penalties and bias reach the sampler', async () => {
  const sampling = { maxTokens: 40, ignoreEos: true };
  const biased = await answer({ sampling: { ...sampling, maxTokens: 5, logitBias: { 104: 100 } } });
  expect(text(biased)).toBe('aaaaa'.replaceAll('a', text(biased)[0]!));
  const distinct = (replies: GenerateResponse[]) =>
    new Set(replies.flatMap((r) => r.logprobs.map((l) => String(l.bytes))));
  const free = distinct(await answer({ sampling: { ...sampling, topLogprobs: 0 } }));
  const penalised = distinct(
    await answer({ sampling: { ...sampling, topLogprobs: 0, presencePenalty: 2, repetitionPenalty: 10 } }),
  );
  expect(penalised.size).toBeGreaterThanOrEqual(free.size);
});
