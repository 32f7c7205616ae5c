import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { openClip, openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { CachedDecoder } from '@landfall/graph/serving/cached-decoder.ts';
import { ClipEncoder } from '@landfall/graph/vision/clip-encoder.ts';
import { ImageTokens } from '@landfall/graph/vision/image-tokens.ts';
import { Differences, type Outcome, UnsupportedCase } from '../outcome.ts';
import { readTensors, supported } from './batches.ts';
import { withTemporaryFolder } from './temporary-folder.ts';

interface ClipExpected {
  input_ids: number[][];
  attention_mask: number[][];
  text_embeds: number[][];
  image_embeds: number[][];
  logits_per_image: number[][];
}

interface LlavaExpected {
  input_ids: number[];
  last_logits?: number[];
  greedy?: number[];
}

const LOGITS = 2e-4;
const BLOCK = 16;

/** `clip` or `llava`; undefined for a model of text alone. */
export function visionType(folder: string): 'clip' | 'llava' | undefined {
  const file = path.join(folder, 'config.json');
  if (!existsSync(file)) return undefined;
  const { model_type: type } = JSON.parse(readFileSync(file, 'utf8')) as { model_type?: unknown };
  return type === 'clip' || type === 'llava' ? type : undefined;
}

/** Embeddings of texts and images, and how alike they are. */
export async function clipCase({ folder, file }: { folder: string; file: string }): Promise<Outcome> {
  const expected = JSON.parse(readFileSync(file, 'utf8')) as ClipExpected;
  const texts = expected.input_ids.map((ids, row) => {
    const mask = expected.attention_mask[row]!;
    const length = mask.lastIndexOf(1) + 1;
    if (mask.slice(0, length).includes(0)) throw new UnsupportedCase('padding before or between tokens');
    return ids.slice(0, length);
  });
  const differences = new Differences();
  await withTemporaryFolder(async (cache) => {
    const checkpoint = supported(() => openClip(folder));
    const encoder = await ClipEncoder.create(checkpoint, { threads: 2, cacheFolder: cache });
    try {
      const { projectionSize: size } = encoder.config;
      const textEmbeds = await encoder.texts(texts);
      const imageEmbeds = await encoder.images(pixelsOf(folder));
      differences.addAll('text_embeds', textEmbeds, expected.text_embeds.flat(), LOGITS);
      differences.addAll('image_embeds', imageEmbeds, expected.image_embeds.flat(), LOGITS);
      for (const [i, row] of expected.logits_per_image.entries()) {
        const got = texts.map((_, t) => {
          let sum = 0;
          for (let k = 0; k < size; k++) sum += imageEmbeds[i * size + k]! * textEmbeds[t * size + k]!;
          return sum * encoder.logitScale;
        });
        differences.addAll('logits_per_image', got, row, LOGITS);
      }
    } finally {
      await encoder.release();
    }
  });
  return differences.outcome();
}

/** Logits behind a prompt that holds an image. */
export async function llavaForwardCase(found: { folder: string; file: string }): Promise<Outcome> {
  const expected = JSON.parse(readFileSync(found.file, 'utf8')) as LlavaExpected;
  if (!expected.last_logits) throw new UnsupportedCase('a forward case without last_logits');
  const differences = new Differences();
  await answering(found.folder, expected, 0, (logits) =>
    differences.addAll('last_logits', logits, expected.last_logits!, LOGITS),
  );
  return differences.outcome();
}

/** Greedy decoding behind it. */
export async function llavaGreedyCase(found: { folder: string; file: string }): Promise<Outcome> {
  const expected = JSON.parse(readFileSync(found.file, 'utf8')) as LlavaExpected;
  const tokens = expected.greedy ?? [];
  const differences = new Differences();
  const got = await answering(found.folder, expected, tokens.length);
  differences.addTokens('tokens', got, tokens);
  return differences.outcome();
}

/** The likeliest tokens behind a prompt, one by one. */
async function answering(
  folder: string,
  { input_ids: prompt }: LlavaExpected,
  count: number,
  onPrompt?: (logits: Float32Array) => void,
): Promise<number[]> {
  return withTemporaryFolder(async (cacheFolder) => {
    const checkpoint = supported(() => openLlava(folder));
    const tower = await ImageTokens.create(checkpoint, { threads: 2, cacheFolder });
    const blocks = Math.ceil((prompt.length + count) / BLOCK);
    const options = { threads: 2, cacheFolder, blocks, blockSize: BLOCK, adapterSlots: 0, images: true };
    const decoder = await CachedDecoder.create(checkpoint.language, options);
    try {
      const { imageToken, language } = checkpoint.config;
      const images = runsOf(prompt, imageToken, await tower.run(pixelsOf(folder)), language.hiddenSize);
      const blockTable = Array.from({ length: blocks }, (_, i) => i);
      const got: number[] = [];
      for (let start = 0, tokens = prompt; ; start += tokens.length, tokens = got.slice(-1)) {
        const own = start === 0 ? { images } : {};
        const [logits] = await decoder.step([{ tokens, start, blockTable, adapterSlot: 0, ...own }]);
        if (start === 0) onPrompt?.(logits!);
        if (got.length >= count) return got;
        got.push(logits!.indexOf(logits!.reduce((most, value) => Math.max(most, value))));
        if (got.length === count) return got;
      }
    } finally {
      await decoder.release();
      await tower.release();
    }
  });
}

/** Where image tokens stand in a prompt, and what stands for them: the images' tokens in order. */
function runsOf(prompt: readonly number[], imageToken: number, tokens: Float32Array, hiddenSize: number) {
  const runs: { from: number; tokens: Float32Array }[] = [];
  let used = 0;
  for (let at = 0; at < prompt.length; at++) {
    if (prompt[at] !== imageToken) continue;
    let end = at;
    while (prompt[end] === imageToken) end++;
    const size = (end - at) * hiddenSize;
    runs.push({ from: at, tokens: tokens.subarray(used, used + size) });
    used += size;
    at = end;
  }
  if (used !== tokens.length)
    throw new Error(`the images have ${tokens.length / hiddenSize} tokens, the prompt ${used / hiddenSize}`);
  return runs;
}

function pixelsOf(folder: string): Float32Array {
  return readTensors(path.join(folder, 'pixel_values.safetensors')).get('pixel_values')!.data;
}
