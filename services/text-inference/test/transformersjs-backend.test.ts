/** A replica over an exported folder through transformers.js, beside one of our own engine over the same weights. */

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import { ConfigError } from '@landfall/common/config/env.ts';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { exportOnnx } from '@landfall/graph/export/onnx.ts';
import { exportOnnxLlava } from '@landfall/graph/export/onnx-llava.ts';
import { openExportModel } from '@landfall/graph/export/sources.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readTextConfig } from '../src/config.ts';
import { TestFolder, TestReplica, testConfig } from './harness.ts';
import { randomImage, TOWER, writeTinyLlava } from './tiny-llava.ts';
import { random, TINY, writeTinyModel } from './tiny-model.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || Math.floor(Math.random() * 2 ** 31);
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

const folder = new TestFolder();
let engine: TestReplica;
let exported: TestReplica;

beforeAll(async () => {
  writeTinyModel(folder.join('base'), { seed: 3 });
  await exportOnnx(openExportModel(folder.join('base')), folder.join('exported'));
  // Habits of the folder must not come in between.
  writeFileSync(
    folder.join('exported', 'generation_config.json'),
    JSON.stringify({ eos_token_id: 6, do_sample: true, repetition_penalty: 5, no_repeat_ngram_size: 1 }),
  );
  const home = { maxQueue: 64, blockSize: 16 };
  engine = await TestReplica.start(
    testConfig(folder.join('a'), { ...home, modelFolder: folder.join('base') }),
  );
  exported = await TestReplica.start(
    testConfig(folder.join('b'), {
      ...home,
      modelFolder: folder.join('exported'),
      backend: { kind: 'transformersjs' },
    }),
  );
});
afterAll(async () => {
  await engine?.[Symbol.asyncDispose]();
  await exported?.[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

type Request = Parameters<TestReplica['client']['generate']>[0];
async function answer(replica: TestReplica, request: Request) {
  const parts = await Array.fromAsync(replica.client.generate(request));
  const logprobs = parts.flatMap((part) => part.logprobs);
  return {
    text: parts.map((part) => part.delta).join(''),
    tokens: logprobs.map(({ token, bytes, top }) => [token, [...bytes], top.map((each) => each.token)]),
    logprobs: logprobs.map(({ logprob }) => logprob),
    last: { reason: parts.at(-1)!.finishReason, usage: parts.at(-1)!.usage },
    parts,
  };
}

test('random requests at once get the answers that our own engine gives', async () => {
  const texts = ['高血压患者日常饮食需要注意什么?', 'What to eat?', '<|end|>a<|user|>', '😀 与 高'];
  const requests: Request[] = Array.from({ length: 16 }, () => ({
    ...(next() < 0.5
      ? { prompt: texts[Math.floor(next() * 4)]! }
      : { messages: [{ role: 'user', content: texts[Math.floor(next() * 4)]! }] }),
    sampling: {
      temperature: [0, 0.7, 1][Math.floor(next() * 3)]!,
      topP: 0.5 + next() / 2,
      topK: Math.floor(next() * 50),
      minP: next() < 0.3 ? next() / 10 : 0,
      repetitionPenalty: next() < 0.3 ? 1 + next() : 1,
      frequencyPenalty: next() < 0.3 ? next() : 0,
      presencePenalty: next() < 0.3 ? next() : 0,
      seed: BigInt(Math.floor(next() * 2 ** 31)),
      maxTokens: 1 + Math.floor(next() * 24),
      stop: next() < 0.3 ? ['e', '。'] : [],
      ignoreEos: next() < 0.5,
      topLogprobs: Math.floor(next() * 4),
    },
  }));
  const asked = requests.map(async (request) => [
    await answer(exported, request),
    await answer(engine, request),
  ]);
  for (const [there, here] of await Promise.all(asked)) {
    expect([there!.text, there!.tokens, there!.last.reason]).toEqual([
      here!.text,
      here!.tokens,
      here!.last.reason,
    ]);
    expect(there!.last.usage).toMatchObject({
      inputTokens: here!.last.usage!.inputTokens,
      outputTokens: here!.last.usage!.outputTokens,
    });
    for (const [i, logprob] of there!.logprobs.entries()) expect(logprob).toBeCloseTo(here!.logprobs[i]!, 3);
  }
});

test('several answers are one batch; a bias holds', async () => {
  const sampling = { temperature: 1, n: 3, maxTokens: 8, ignoreEos: true, seed: 5n };
  const { parts, last } = await answer(exported, { prompt: 'x', sampling });
  const texts = [0, 1, 2].map((index) =>
    parts
      .filter((part) => part.index === index)
      .map((part) => part.delta)
      .join(''),
  );
  expect(new Set(texts).size).toBe(3);
  expect(last.usage).toMatchObject({ outputTokens: 24 });
  expect(parts.filter((part) => part.finishReason === FinishReason.LENGTH)).toHaveLength(3);
  const alone = await answer(exported, { prompt: 'x', sampling: { ...sampling, n: 1 } });
  expect(alone.text).toBe(texts[0]);
  const A = 7 + 'A'.charCodeAt(0);
  const forced = { maxTokens: 4, logitBias: { [A]: 100 } };
  expect((await answer(exported, { prompt: 'x', sampling: forced })).text).toBe('AAAA');
});

test('outputs are held to a language, as by our own engine', async () => {
  const options = ['轻', '中', '重'];
  for (const kind of [
    { case: 'regex' as const, value: '[0-9]{2}%,(是|否)' },
    { case: 'choice' as const, value: { options } },
  ]) {
    const request = { prompt: 'x', sampling: { temperature: 1, seed: 9n, n: 2 }, constraint: { kind } };
    const [there, here] = await Promise.all([answer(exported, request), answer(engine, request)]);
    const of = ({ parts }: typeof there) =>
      [0, 1].map((index) =>
        parts
          .filter((part) => part.index === index)
          .map((part) => part.delta)
          .join(''),
      );
    expect(of(there)).toEqual(of(here));
    for (const text of of(there)) {
      if (kind.case === 'choice') expect(options).toContain(text);
      else expect(text).toMatch(/^[0-9]{2}%,(是|否)$/);
    }
  }
});

test('scores as our own engine does', async () => {
  const request = { messages: [{ role: 'user', content: '高血压?' }], completion: '少盐,多动。' };
  const [there, here] = await Promise.all([exported.client.score(request), engine.client.score(request)]);
  expect(there.tokens).toBe(here.tokens);
  expect(there.logProbability).toBeCloseTo(here.logProbability, 2);
});

test('bad input by field, other models, and adapters by reason; the next request goes on', async () => {
  const failing = (request: Request) =>
    answer(exported, request).then(
      () => undefined,
      (error) => error,
    );
  const long = await failing({ prompt: '长'.repeat(TINY.context) });
  expect(long).toMatchObject({ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'prompt' }] });
  expect(await failing({ prompt: 'x', model: 'models:/other/1.0.0' })).toMatchObject({
    code: status.NOT_FOUND,
  });
  const held = { kind: { case: 'regex' as const, value: '(?=x)' } };
  expect(await failing({ prompt: 'x', constraint: held })).toMatchObject({ code: status.INVALID_ARGUMENT });
  const outside = await failing({ prompt: 'x', sampling: { logitBias: { 5000: 1 } } });
  expect(outside).toMatchObject({ code: status.INVALID_ARGUMENT });
  await expect(exported.client.loadAdapter({ model: 'models:/one/1.0.0' })).rejects.toMatchObject({
    code: status.FAILED_PRECONDITION,
    reason: 'BACKEND_ONE_MODEL',
  });
  expect(
    (await answer(exported, { prompt: 'x', sampling: { maxTokens: 2, ignoreEos: true } })).last.usage,
  ).toMatchObject({
    outputTokens: 2,
  });
});

test('a caller that leaves ends its work, and its place in the line', async () => {
  const long = { prompt: 'x', sampling: { maxTokens: 120, ignoreEos: true } };
  const running = async () => (await exported.client.getLoad({})).load!;
  const before = (await running()).outputTokens;
  const first = exported.client.generate(long)[Symbol.asyncIterator]();
  await first.next();
  const controller = new AbortController();
  const waiting = Promise.allSettled(
    Array.from({ length: 40 }, () =>
      Array.fromAsync(exported.client.generate(long, { signal: controller.signal })),
    ),
  );
  await expect.poll(async () => (await running()).queued, { timeout: 20_000 }).toBeGreaterThan(20);
  controller.abort();
  await first.return?.();
  expect((await waiting).filter(({ status: how }) => how === 'rejected').length).toBeGreaterThan(20);
  await expect.poll(async () => (await running()).running, { timeout: 20_000 }).toBe(0);
  // What follows is computed at once: nobody's tokens are in the way.
  await answer(exported, { prompt: 'x', sampling: { maxTokens: 1 } });
  expect(Number((await running()).outputTokens - before)).toBeLessThan(20 * 120);
  expect((await running()).maxBatch).toBe(1);
});

test('only a local folder that was exported is served', async () => {
  expect(() => readTextConfig({ ...env(), LANDFALL_MODEL: 'onnx-community/x' })).toThrow(ConfigError);
  mkdirSync(folder.join('empty'));
  const starting = TestReplica.start(
    testConfig(folder.join('c'), { modelFolder: folder.join('base'), backend: { kind: 'transformersjs' } }),
  );
  await expect(starting).rejects.toThrow('onnx/model.onnx');
});

test('an exported LLaVA answers about images as our own engine does', async () => {
  writeTinyLlava(folder.join('llava'));
  await exportOnnxLlava(openLlava(folder.join('llava')), folder.join('llava-exported'));
  const home = { maxQueue: 64, blockSize: 16 };
  await using own = await TestReplica.start(
    testConfig(folder.join('d'), { ...home, modelFolder: folder.join('llava') }),
  );
  const backend = { kind: 'transformersjs' } as const;
  await using theirs = await TestReplica.start(
    testConfig(folder.join('e'), { ...home, modelFolder: folder.join('llava-exported'), backend }),
  );
  // Of the tower's own size: the two resize in their own ways.
  const images = await Promise.all([1, 2].map(() => randomImage(next, 'png', TOWER.imageSize)));
  const sampling = { temperature: 1, seed: 7n, n: 2, maxTokens: 12, ignoreEos: true, topLogprobs: 1 };
  for (const [content, shown] of [
    ['<image>\n这是什么?', images.slice(0, 1)],
    ['compare <image> with <image>', images],
    ['no picture', []],
  ] as const) {
    const request = { messages: [{ role: 'user', content, images: [...shown] }], sampling };
    const [there, here] = [await answer(theirs, request), await answer(own, request)];
    const byIndex = ({ parts }: typeof there) =>
      [0, 1].map((index) => parts.flatMap((part) => (part.index === index ? [part.delta] : [])).join(''));
    expect(byIndex(there)).toEqual(byIndex(here));
    expect(there.last.usage!.inputTokens).toBe(here.last.usage!.inputTokens);
    const scored = { messages: request.messages, completion: 'a dent' };
    const [one, other] = [await theirs.client.score(scored), await own.client.score(scored)];
    expect(one.logProbability).toBeCloseTo(other.logProbability, 2);
  }
  const broken = { messages: [{ role: 'user', content: 'x', images: [images[0]!.slice(0, 60)] }] };
  await expect(answer(theirs, broken)).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    fieldViolations: [{ field: 'messages[0].images[0]' }],
  });
  const config = JSON.parse(readFileSync(folder.join('llava-exported', 'config.json'), 'utf8'));
  const file = folder.join('llava-exported', 'config.json');
  writeFileSync(file, JSON.stringify({ ...config, model_type: 'kosmos-2' }));
  const starting = TestReplica.start(
    testConfig(folder.join('f'), { modelFolder: folder.join('llava-exported'), backend }),
  );
  await expect(starting).rejects.toThrow('model_type kosmos-2 are not served');
});

function env() {
  const keyFile = folder.join('mesh.key');
  writeFileSync(keyFile, 'a test needs a key of thirty-two bytes at least', { mode: 0o600 });
  return {
    LANDFALL_HOME: folder.path,
    LANDFALL_LISTEN: '127.0.0.1:0',
    LANDFALL_MESH_KEY_FILE: keyFile,
    LANDFALL_REGISTRY_URL: '127.0.0.1:1',
    LANDFALL_TEXT_BACKEND: 'transformersjs',
  };
}
