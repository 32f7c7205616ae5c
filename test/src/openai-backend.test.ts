/** A replica whose server is our own gateway: the contract, through OpenAI's API and back, changes nothing. */

import { status } from '@grpc/grpc-js';
import type { OpenAiConfig } from '@landfall/text-inference/backends/backend-config.ts';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { TestFolder, TestReplica, testConfig } from '../../services/text-inference/test/harness.ts';
import { random } from '../../services/text-inference/test/tiny-model.ts';
import { ADAPTER, BASE, OpenAiMesh } from './openai-mesh.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || Math.floor(Math.random() * 2 ** 31);
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);
const whole = (most: number) => Math.floor(next() * most);

const folder = new TestFolder();
let mesh: OpenAiMesh | undefined;
let far: TestReplica;
const start = (model: string) => {
  const backend: OpenAiConfig = {
    kind: 'openai',
    url: `${mesh!.url}/v1`,
    key: mesh!.apiKey,
    model,
    remote: false,
    remoteImages: false,
    extensions: true,
    silenceMs: 15_000,
    answerMs: 60_000,
    maxAnswerBytes: 1024 * 1024,
  };
  return TestReplica.start(testConfig(folder.join(model), { backend, maxQueue: 64 }));
};
beforeAll(async () => {
  mesh = await OpenAiMesh.start();
  if (mesh) far = await start('tiny');
});
afterAll(async () => {
  await far?.[Symbol.asyncDispose]();
  await mesh?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

type Request = Parameters<TestReplica['client']['generate']>[0];
async function answer(replica: TestReplica, request: Request) {
  const parts = await Array.fromAsync(replica.client.generate(request));
  const logprobs = parts.flatMap((part) => part.logprobs);
  return {
    model: parts[0]!.model,
    text: parts.map((part) => part.delta).join(''),
    tokens: logprobs.map(({ token, logprob }) => [token, logprob.toFixed(6)]),
    reason: parts.at(-1)!.finishReason,
    counts: [parts.at(-1)!.usage!.inputTokens, parts.at(-1)!.usage!.outputTokens],
  };
}

test('random requests get the answers that the engine gives', async (t) => {
  if (!mesh) return t.skip();
  const texts = ['高血压患者日常饮食需要注意什么?', 'What to eat?', '养花', '😀 và 高'];
  const requests: Request[] = Array.from({ length: 24 }, () => ({
    model: [BASE, ADAPTER][whole(2)]!,
    ...(next() < 0.3
      ? { prompt: texts[whole(4)]! }
      : { messages: [{ role: 'user', content: texts[whole(4)]! }] }),
    sampling: {
      temperature: [0, 0.7, 1][whole(3)]!,
      topP: 0.5 + next() / 2,
      topK: whole(50),
      minP: next() < 0.3 ? next() / 10 : 0,
      repetitionPenalty: next() < 0.3 ? 1 + next() : 1,
      frequencyPenalty: next() < 0.3 ? next() : 0,
      presencePenalty: next() < 0.3 ? -next() : 0,
      logitBias: next() < 0.3 ? { [whole(200)]: 4 } : {},
      seed: BigInt(whole(2 ** 31)),
      maxTokens: 1 + whole(24),
      stop: next() < 0.3 ? ['e', '。'] : [],
      ignoreEos: next() < 0.5,
      ...(next() < 0.3 ? { topLogprobs: whole(4) } : {}),
    },
  }));
  const asked = requests.map(async (request) => [
    await answer(far, request),
    await answer(mesh!.replica, request),
  ]);
  for (const [there, here] of await Promise.all(asked)) expect(there).toEqual(here);
});

test('several answers, and languages, are those of the engine', async (t) => {
  if (!mesh) return t.skip();
  const sampling = { temperature: 1, n: 3, seed: BigInt(whole(2 ** 31)), maxTokens: 40 };
  const schema = JSON.stringify({
    type: 'object',
    properties: { 科室: { enum: ['内科', '外科'] }, 紧急: { type: 'boolean' } },
    required: ['科室', '紧急'],
    additionalProperties: false,
  });
  const kinds: NonNullable<NonNullable<Request['constraint']>['kind']>[] = [
    { case: 'jsonSchema', value: schema },
    { case: 'regex', value: '[0-9]{1,3}(次|分)' },
    { case: 'choice', value: { options: ['轻', '中', '重'] } },
  ];
  for (const constraint of [undefined, ...kinds.map((kind) => ({ kind }))]) {
    const request = { prompt: '分诊:', sampling, ...(constraint ? { constraint } : {}) };
    const texts = async (replica: TestReplica) => {
      const parts = await Array.fromAsync(replica.client.generate(request));
      return [0, 1, 2].map((index) =>
        parts
          .filter((part) => part.index === index)
          .map((part) => part.delta)
          .join(''),
      );
    };
    const [there, here] = await Promise.all([texts(far), texts(mesh.replica)]);
    expect(there).toEqual(here);
  }
});

test('refusals keep their codes and fields', async (t) => {
  if (!mesh) return t.skip();
  const long = answer(far, { prompt: '长'.repeat(1000) });
  await expect(long).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    fieldViolations: [{ field: 'prompt' }],
  });
  await expect(answer(far, { model: 'models:/nobody/1.0.0', prompt: 'x' })).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
});

test('a caller that leaves stops the work of the replica at the far end', async (t) => {
  if (!mesh) return t.skip();
  await using slow = await start('slow');
  const running = async () => (await mesh!.slow.client.getLoad({})).load!.running;
  const endless = slow.client.generate({ prompt: 'x', sampling: { maxTokens: 110, ignoreEos: true } });
  for await (const { delta } of endless) if (delta) break;
  await expect.poll(running).toBe(0);
  expect((await slow.client.getLoad({})).load!.running).toBe(0);
});
