/** A replica with a real model: tiny, random, half precision, fetched from a registry. */

import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestFolder, TestRegistry, TestReplica, testConfig, until } from './harness.ts';
import { random, writeTinyAdapter, writeTinyModel } from './tiny-model.ts';

const folder = new TestFolder();
const registry = new TestRegistry();
let replica: TestReplica;

beforeAll(async () => {
  writeTinyModel(folder.join('base'), { dtype: 'F16' });
  writeTinyAdapter(folder.join('one'), { seed: 11 });
  writeTinyAdapter(folder.join('two'), { seed: 12, rank: 7 });
  writeTinyAdapter(folder.join('wide'), { seed: 13, hidden: 48 });
  await registry.start();
  const base = 'models:/base/1.0.0';
  const version = '1.0.0';
  registry.versions.push({ name: 'base', version, kind: Kind.BASE, folder: folder.join('base') });
  for (const name of ['one', 'two', 'wide']) {
    registry.versions.push({ name, version, kind: Kind.ADAPTER, folder: folder.join(name), base });
  }
  replica = await TestReplica.start(config());
});

afterAll(async () => {
  await replica[Symbol.asyncDispose]();
  await registry[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function config(more = {}) {
  return testConfig(folder.join('home'), {
    registryUrl: registry.address,
    maxQueue: 64,
    blockSize: 16,
    ...more,
  });
}

interface Question {
  model: string;
  content: string;
  temperature: number;
  seed: bigint;
  maxTokens: number;
}

async function answer({ model, content, ...sampling }: Question): Promise<GenerateResponse[]> {
  const messages = [{ role: 'user', content }];
  return Array.fromAsync(
    replica.client.generate({ model, messages, sampling: { ...sampling, ignoreEos: true } }),
  );
}
const text = (replies: GenerateResponse[]) => replies.map((r) => r.delta).join('');

describe('a replica with a real model', () => {
  test('weights are laid out for serving once and kept', async () => {
    const kept = path.join(folder.join('home'), 'cache', 'weights');
    const files = () =>
      readdirSync(kept, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.safetensors'));
    expect(files()).toHaveLength(1);
    const { mtimeMs } = statSync(path.join(kept, files()[0]!));
    await using again = await TestReplica.start(config());
    expect(again.model).toBe('models:/base/1.0.0');
    expect(files()).toHaveLength(1);
    expect(statSync(path.join(kept, files()[0]!)).mtimeMs).toBe(mtimeMs);
  });

  test('adapters and base, greedy and sampled, all at once: each answers as it does alone', async () => {
    const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
    console.log(`LANDFALL_TEST_SEED=${seed}`);
    const next = random(seed);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)]!;
    const questions = Array.from({ length: 24 }, () => ({
      model: pick(['', 'models:/one/1.0.0', 'models:/two/1.0.0']),
      content: pick(['高血压患者日常饮食需要注意什么?', 'hi', '糖尿病 😀 ?', 'a'.repeat(40)]),
      temperature: pick([0, 0.8, 1.3]),
      seed: BigInt(Math.floor(next() * 1000)),
      maxTokens: 1 + Math.floor(next() * 40),
    }));
    const alone: string[] = [];
    for (const question of questions) alone.push(text(await answer(question)));
    const together = await Promise.all(
      questions.map(async (question) => {
        await new Promise((resolve) => setTimeout(resolve, next() * 100));
        return text(await answer(question));
      }),
    );
    expect(together).toEqual(alone);
    const first = { content: 'hi', temperature: 0, seed: 0n, maxTokens: 20 };
    const [base, one, two] = await Promise.all(
      ['', 'models:/one/1.0.0', 'models:/two/1.0.0'].map(async (model) =>
        text(await answer({ model, ...first })),
      ),
    );
    expect(new Set([base, one, two]).size).toBe(3);
  });

  test('Score says how likely a text is, beside generations, the adapters each by themselves', async () => {
    const messages = [{ role: 'user', content: '高血压患者日常饮食需要注意什么?' }];
    const completion = '少盐。';
    const models = ['', 'models:/one/1.0.0', 'models:/two/1.0.0'];
    const running = answer({ model: '', content: 'hi', temperature: 0, seed: 1n, maxTokens: 40 });
    const scores = await Promise.all(
      models.map((model) => replica.client.score({ model, messages, completion })),
    );
    await running;
    // Nine bytes and the end of the turn.
    for (const { tokens, logProbability } of scores) {
      expect(tokens).toBe(10);
      expect(logProbability).toBeLessThan(0);
    }
    expect(new Set(scores.map(({ logProbability }) => logProbability)).size).toBe(3);
    const again = await replica.client.score({ messages, completion });
    expect(again.logProbability).toBeCloseTo(scores[0]!.logProbability, 3);
    expect(again.model).toBe('models:/base/1.0.0');

    // The first token's log probability is the one that Generate reports for it.
    const sampling = { temperature: 0, maxTokens: 1, topLogprobs: 1, ignoreEos: true };
    const [first] = await Array.fromAsync(replica.client.generate({ prompt: 'hi', sampling }));
    const token = first!.logprobs[0]!;
    const text = new TextDecoder().decode(token.bytes);
    if (token.bytes.length === 1 && text !== '\ufffd') {
      const one = await replica.client.score({ prompt: 'hi', completion: text });
      expect(one.logProbability).toBeLessThanOrEqual(token.logprob + 1e-3);
    }
    const refused = (request: object) => replica.client.score(request).then(undefined, (error) => error);
    expect((await refused({ messages, completion: '' })).fieldViolations[0].field).toBe('completion');
    expect((await refused({ messages, completion: 'x'.repeat(4000) })).fieldViolations[0].field).toBe(
      'completion',
    );
    expect((await refused({ messages, prompt: 'x', completion: 'y' })).code).toBe(status.INVALID_ARGUMENT);
    expect((await refused({ model: 'models:/none/1.0.0', messages, completion })).code).toBe(
      status.NOT_FOUND,
    );
  });

  test('an adapter of another shape says what does not fit', async () => {
    const error = await replica.client.loadAdapter({ model: 'models:/wide/1.0.0' }).catch((e) => e);
    expect(error).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'ADAPTER_UNUSABLE' });
    expect(error.message).toContain('the model asks for');
    expect(error.message).not.toContain(folder.path);
  });

  test('an adapter whose content is not what its digest says is DATA_LOSS and never served', async () => {
    writeTinyAdapter(folder.join('flipped'), { seed: 14 });
    const file = folder.join('flipped', 'adapter_model.safetensors');
    const name = 'flipped';
    const lying = new TestRegistry();
    await lying.start();
    lying.versions.push(...registry.versions);
    lying.versions.push({
      name,
      version: '1.0.0',
      kind: Kind.ADAPTER,
      folder: folder.join(name),
      base: 'models:/base/1.0.0',
    });
    await using other = await TestReplica.start(config({ registryUrl: lying.address }));
    lying.beforeDownload = (downloaded) => {
      if (downloaded !== path.basename(file)) return;
      const bytes = readFileSync(file);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(file, bytes);
    };
    const error = await other.client.loadAdapter({ model: 'models:/flipped/1.0.0' }).catch((e) => e);
    expect(error).toMatchObject({ code: status.DATA_LOSS });
    expect((await other.client.getLoad({})).load?.adapters).toEqual([]);
    await lying[Symbol.asyncDispose]();
  });

  test('a model file that lies is an error at the start that names it', async () => {
    writeTinyModel(folder.join('short'), {});
    truncateSync(folder.join('short', 'model.safetensors'), 20_000);
    const start = TestReplica.start(config({ registryUrl: '', modelFolder: folder.join('short') }));
    await expect(start).rejects.toThrow('model.safetensors');
  });

  test('under full load the event loop stays free and every stream ends', async () => {
    let longest = 0;
    let last = performance.now();
    const ticks = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const question = { model: '', content: '高血压', temperature: 0, seed: 0n, maxTokens: 60 };
    const start = performance.now();
    const answers = await Promise.all(Array.from({ length: 32 }, () => answer(question)));
    const seconds = (performance.now() - start) / 1000;
    clearInterval(ticks);
    expect(new Set(answers.map(text)).size).toBe(1);
    expect(answers.every((a) => a.at(-1)?.finishReason === FinishReason.LENGTH)).toBe(true);
    console.log(
      `32 streams, batch 4: ${(1920 / seconds).toFixed(0)} tokens/s, longest gap of the loop ${longest.toFixed(0)} ms`,
    );
    await until(async () => (await replica.client.getLoad({})).load!.running === 0);
    const { load } = await replica.client.getLoad({});
    expect(load!.freeBlocks).toBe(load!.totalBlocks);
  });
});
