/** Exported folders that read images: what is each family's own, and folders that do not fit together. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { status } from '@grpc/grpc-js';
import sharp from 'sharp';
import { afterAll, describe, expect, test } from 'vitest';
import { FLORENCE_TASKS, FLORENCE_TOKENS, writeFlorence2 } from './exported/florence2.ts';
import { writeLlava } from './exported/llava.ts';
import { PALIGEMMA_TOKENS, writePaliGemma } from './exported/paligemma.ts';
import { writeQwen2Vl } from './exported/qwen2-vl.ts';
import { TILE_TOKENS, writeSmolVlm } from './exported/smolvlm.ts';
import { TestFolder, TestReplica, testConfig } from './harness.ts';
import { randomImage } from './tiny-llava.ts';
import { IMAGE_TOKEN, random, TINY } from './tiny-model.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED) || Math.floor(Math.random() * 2 ** 31);
console.log(`LANDFALL_TEST_SEED=${seed}`);
const next = random(seed);

const TIME = 240_000;
const folder = new TestFolder();
afterAll(() => folder[Symbol.dispose]());

const start = (modelFolder: string) =>
  TestReplica.start(
    testConfig(folder.join('home'), { maxQueue: 16, modelFolder, backend: { kind: 'transformersjs' } }),
  );

type Request = Exclude<Parameters<TestReplica['client']['generate']>[0], { $typeName: string }>;
async function ask(replica: TestReplica, request: Request) {
  const sampling = { maxTokens: 6, ignoreEos: true, topLogprobs: 1, ...request.sampling };
  const parts = await Array.fromAsync(replica.client.generate({ ...request, sampling }));
  const logprobs = parts.flatMap((part) => part.logprobs);
  return {
    text: parts.map((part) => part.delta).join(''),
    bytes: logprobs.flatMap(({ bytes }) => [...bytes]),
    logprobs: logprobs.map(({ logprob }) => logprob),
    usage: parts.at(-1)!.usage!,
  };
}
const showing = (content: string, ...images: Uint8Array[]) => [{ role: 'user', content, images }];

/** A picture of random blocks of these sides. */
async function picture(width: number, height: number): Promise<Uint8Array> {
  const data = Buffer.from(Array.from({ length: 3 * width * height }, () => Math.floor(next() * 256)));
  return new Uint8Array(
    await sharp(data, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
}

const refused = (field: string) => ({ code: status.INVALID_ARGUMENT, fieldViolations: [{ field }] });

test('Qwen2-VL: images at their own sizes, and positions of three dimensions', {
  timeout: TIME,
}, async () => {
  writeQwen2Vl(folder.join('qwen'), { echoes: true });
  await using replica = await start(folder.join('qwen'));
  // Squares of four patches have sides of four pixels; texts go on behind an image's longer side.
  const [wide, tall] = [await picture(24, 8), await picture(8, 16)];
  const words = (await ask(replica, { messages: showing('what?') })).usage.inputTokens;
  const marks = 2;
  for (const { images, tokens, positions } of [
    { images: [], tokens: 0, positions: 0 },
    { images: [wide], tokens: 6 * 2 + marks, positions: 6 + marks },
    { images: [tall], tokens: 2 * 4 + marks, positions: 4 + marks },
    { images: [wide, tall], tokens: 6 * 2 + 2 * 4 + 2 * marks, positions: 6 + 4 + 2 * marks },
  ]) {
    const { bytes, usage } = await ask(replica, { messages: showing('what?', ...images) });
    expect(usage.inputTokens).toBe(words + tokens);
    // The last token's position, then one more with each that is made.
    const last = words + positions - 1;
    expect(bytes).toEqual([0, 1, 2, 3, 4, 5].map((i) => last + i));
  }
  const ribbon = showing('what?', await picture(1, 300));
  await expect(ask(replica, { messages: ribbon })).rejects.toMatchObject(refused('messages[0].images[0]'));
  const forged = await ask(replica, { messages: showing('<|vision_start|><|image_pad|>', wide) });
  expect(forged.usage.inputTokens).toBeGreaterThan(words + 6 * 2 + 2);
});

test('SmolVLM: tiles by the image, each as many tokens', { timeout: TIME }, async () => {
  writeSmolVlm(folder.join('smol'), 'smolvlm');
  await using replica = await start(folder.join('smol'));
  const tokens = async (width: number, height: number) =>
    (await ask(replica, { messages: showing('what?', await picture(width, height)) })).usage.inputTokens;
  // A tile has two marks before it, a row of tiles a line break behind it; both images have the whole behind them.
  const tile = TILE_TOKENS + 2;
  expect((await tokens(24, 24)) - (await tokens(24, 12))).toBe(2 * tile + 1);
  expect(await tokens(12, 24)).toBe((await tokens(24, 12)) + 1);
});

test('Florence-2: tasks, places in an image, one image and no chat', { timeout: TIME }, async () => {
  writeFlorence2(folder.join('florence'));
  await using replica = await start(folder.join('florence'));
  const image = await randomImage(next);
  const answer = (content: string, sampling = {}) =>
    ask(replica, { messages: showing(content, image), sampling });
  const { alone, withInput } = FLORENCE_TASKS;
  const grounding = '<CAPTION_TO_PHRASE_GROUNDING>';
  expect((await answer('<CAPTION>')).logprobs).toEqual((await answer(alone['<CAPTION>'])).logprobs);
  const grounded = withInput[grounding].replace('{input}', 'a dent');
  expect((await answer(`<image>\n${grounding}a dent`)).logprobs).toEqual((await answer(grounded)).logprobs);
  // Places are words of the model's language: callers and answers spell them.
  const [with1, without] = [await answer('at <loc_1>'), await answer('at ')];
  expect(with1.usage.inputTokens).toBe(without.usage.inputTokens + 1);
  const forced = { maxTokens: 2, logitBias: { [IMAGE_TOKEN]: 100 } };
  expect((await answer('where?', forced)).text).toBe('<loc_1><loc_1>');
  // What ends or begins texts stays text.
  expect((await answer('a<|end|>')).usage.inputTokens).toBe((await answer('a')).usage.inputTokens + 7);
  // Image and text fill the encoder, an answer the decoder, behind two tokens that begin it.
  const long = 'x'.repeat(TINY.context - FLORENCE_TOKENS - 3);
  const full = await answer(long, { maxTokens: 1000 });
  expect(full.usage).toMatchObject({ inputTokens: TINY.context - 1, outputTokens: TINY.context - 2 });
  await expect(answer(`${long}x`)).rejects.toMatchObject(refused('messages'));
  await expect(answer('what is <image>?')).rejects.toMatchObject(refused('messages[0].content'));
  const system = [{ role: 'system', content: 'be brief', images: [image] }];
  await expect(ask(replica, { messages: system })).rejects.toMatchObject(refused('messages[0].role'));
});

test('PaliGemma: images before the text, and a text alone', { timeout: TIME }, async () => {
  writePaliGemma(folder.join('gemma'));
  await using replica = await start(folder.join('gemma'));
  const image = await randomImage(next);
  const answer = (content: string, ...images: Uint8Array[]) =>
    ask(replica, { messages: showing(content, ...images) });
  const shown = await answer('caption en', image);
  // Patches, the start token, the text and a line break.
  expect(shown.usage.inputTokens).toBe(PALIGEMMA_TOKENS + 1 + 'caption en'.length + 1);
  expect((await answer('<image>caption en', image)).logprobs).toEqual(shown.logprobs);
  expect((await answer('caption en')).usage.inputTokens).toBe(1 + 'caption en'.length + 1);
  expect((await ask(replica, { prompt: 'caption en' })).logprobs).toEqual(
    (await answer('caption en')).logprobs,
  );
  const located = await answer('detect <loc0001>', image);
  expect(located.usage.inputTokens).toBe(PALIGEMMA_TOKENS + 1 + 'detect '.length + 1 + 1);
  await expect(answer('a <image>', image)).rejects.toMatchObject(refused('messages[0].content'));
  await expect(ask(replica, { prompt: '<image>a' })).rejects.toMatchObject(refused('prompt'));
});

describe('a folder that can not answer says why before it is asked', () => {
  const at = folder.join('broken');
  const onnx = (name: string) => folder.join('broken', 'onnx', name);
  const change = (file: string, values: object) => {
    const path = folder.join('broken', file);
    const json = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, JSON.stringify({ ...json, ...values }));
  };
  const llava = () => writeLlava(at, 'llava_onevision');
  const florence = () => writeFlorence2(at);
  const smolvlm = () => writeSmolVlm(at, 'smolvlm');

  test.each<[string, () => void, () => void]>([
    ['onnx/vision_encoder.onnx', llava, () => rmSync(onnx('vision_encoder.onnx'))],
    ['onnx/encoder_model.onnx', florence, () => rmSync(onnx('encoder_model.onnx'))],
    ['preprocessor_config.json', llava, () => rmSync(folder.join('broken', 'preprocessor_config.json'))],
    ['image_token_index', llava, () => change('config.json', { image_token_index: undefined })],
    ['no added token 5000', llava, () => change('config.json', { image_token_index: 5000 })],
    ['tokens: 16, features 9', llava, () => change('processor_config.json', { patch_size: 3 })],
    [`16 numbers a token; the decoder reads ${TINY.hidden}`, () => writeLlava(at, 'llava', 16), () => {}],
    ['tokens: 5, features 4', smolvlm, () => change('processor_config.json', { image_seq_len: 5 })],
    [
      'task_prompts_with_input',
      florence,
      () => change('preprocessor_config.json', { task_prompts_with_input: { x: 1 } }),
    ],
  ])('%s', { timeout: TIME }, async (why, make, breakIt) => {
    rmSync(at, { recursive: true, force: true });
    make();
    breakIt();
    await expect(start(at)).rejects.toThrow(why);
  });
});
