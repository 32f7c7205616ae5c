import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { generator, testSeed } from '../../test/random.ts';
import { casesWith, readCase } from '../../test/reference-cases.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import type { LoraAdapter } from '../checkpoint/peft.ts';
import type { ModelConfig } from '../models/config.ts';
import { loraShapes } from '../training/lora.ts';
import { CachedDecoder, type DecodeRow } from './cached-decoder.ts';
import type { ServingPrecision } from './packed-weights.ts';

/** A token's result must be the same to the bit whatever else is computed with it. */

const random = generator(testSeed('bits of a batch'));
const below = (n: number) => Math.floor(random() * n);

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-invariance-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const BLOCK = 16;

interface Sequence {
  prompt: number[];
  /** Chosen by the sequence itself, for the test given ahead. */
  answer: number[];
  slot: number;
  blockTable: number[];
  /** Tokens in the pool. */
  done: number;
  /** Logits of the prompt's last token and of each of the answer. */
  seen: Float32Array[];
}

function randomAdapter(config: ModelConfig, r: number, targetModules: string[]): LoraAdapter {
  const lora = { r, loraAlpha: 2 * r, targetModules, useRslora: false };
  const tensors = new Map(
    [...loraShapes(config, lora)].map(([name, shape]) => {
      const data = Float32Array.from({ length: shape[0]! * shape[1]! }, () => (random() - 0.5) / 2);
      return [name, { shape, data }];
    }),
  );
  return { config: lora, tensors };
}

/** The next part of a sequence: a chunk of its prompt, or some of its answer one by one. */
function nextRow(sequence: Sequence, most: number): DecodeRow {
  const { prompt, answer, blockTable, slot: adapterSlot, done: start } = sequence;
  if (start < prompt.length) {
    const tokens = prompt.slice(start, start + most);
    const logits = start + tokens.length === prompt.length ? 'last' : 'none';
    return { tokens, start, blockTable, adapterSlot, stepwise: false, logits };
  }
  const tokens = answer.slice(start - prompt.length, start - prompt.length + most);
  return { tokens, start, blockTable, adapterSlot, stepwise: true, logits: 'each' };
}

async function advance(decoder: CachedDecoder, sequences: Sequence[], most: () => number): Promise<void> {
  const rows = sequences.map((sequence) => nextRow(sequence, most()));
  const results = await decoder.step(rows);
  for (const [i, sequence] of sequences.entries()) {
    sequence.done += rows[i]!.tokens.length;
    const size = decoder.config.vocabSize;
    for (let at = 0; at < results[i]!.length; at += size)
      sequence.seen.push(results[i]!.slice(at, at + size));
  }
}

const finished = ({ prompt, answer, done }: Sequence) => done === prompt.length + answer.length;

const cases = casesWith('expected_forward.json').filter(([, path]) =>
  ['llama', 'qwen2', 'mistral', 'qwen3'].includes(
    readCase<{ model_type: string }>(path, 'config.json').model_type,
  ),
);

describe.each<ServingPrecision>(['float32', 'int8'])('%s', (precision) => {
  test.each(cases)('%s: alone or in any company, whole or in chunks', async (_, path) => {
    const checkpoint = openCheckpoint(path);
    const { config } = checkpoint;
    const options = {
      threads: 2,
      cacheFolder: folder,
      blocks: 128,
      blockSize: BLOCK,
      adapterSlots: 3,
      // Steps of the base alone go through another graph, and come to the same.
      copyBytes: 2 ** 30,
      precision,
    };
    const decoder = await CachedDecoder.create(checkpoint, options);
    // Room for the contexts of none, or some, to be read in one piece.
    const contextBytes = below(2) * below(2 ** 20);
    const pooling = await CachedDecoder.create(checkpoint, { ...options, contextBytes, copyBytes: 0 });
    const adapters = [
      randomAdapter(config, 3, ['q_proj', 'v_proj']),
      randomAdapter(config, 8, ['all-linear']),
      randomAdapter(config, 100, ['down_proj', 'k_proj']),
    ];
    for (const each of [decoder, pooling])
      for (const [i, adapter] of adapters.entries()) each.setAdapter(i + 1, { kind: 'lora', ...adapter });
    const length = Math.min(config.maxPositions, 40);
    const free = Array.from({ length: 128 }, (_, i) => i).sort(() => random() - 0.5);
    const make = (): Sequence => {
      const prompt = Array.from({ length: 1 + below(length / 2) }, () => below(config.vocabSize));
      const answer = Array.from({ length: 1 + below(length / 2) }, () => below(config.vocabSize));
      const blockTable = free.splice(0, Math.ceil(length / BLOCK));
      return { prompt, answer, slot: below(4), blockTable, done: 0, seen: [] };
    };
    const sequences = Array.from({ length: 7 }, make);

    const alone = sequences.map((sequence) => ({ ...sequence, done: 0, seen: [] as Float32Array[] }));
    for (const sequence of alone) {
      // The whole prompt at once, then one token after the other.
      while (!finished(sequence))
        await advance(decoder, [sequence], () => (sequence.done === 0 ? sequence.prompt.length : 1));
    }

    for (let round = 0; round < 6; round++) {
      for (const sequence of sequences) Object.assign(sequence, { done: 0, seen: [] });
      while (sequences.some((sequence) => !finished(sequence))) {
        const open = sequences.filter((sequence) => !finished(sequence));
        const some = open.filter(() => random() < 0.7);
        const most = round % 2 === 0 ? 1 : 6;
        await advance(
          round < 4 ? decoder : pooling,
          some.length > 0 ? some : [open[0]!],
          () => 1 + below(most),
        );
      }
      for (const [i, { seen }] of sequences.entries()) {
        expect(seen.length).toBe(alone[i]!.seen.length);
        expect(
          seen.every((row, n) => Buffer.from(row.buffer).equals(Buffer.from(alone[i]!.seen[n]!.buffer))),
        ).toBe(true);
      }
    }

    // The likeliest tokens alone are those of the logits, beside rows that ask for more.
    const [first, second] = sequences.map((sequence) => ({ ...nextRow({ ...sequence, done: 0 }, 3) }));
    const rows: DecodeRow[] = [
      { ...first!, logits: 'each', top: true },
      { ...second!, logits: 'each' },
      { ...first!, logits: 'each', blockTable: sequences[2]!.blockTable },
    ];
    const [top, , whole] = await decoder.step(rows);
    const pairs = first!.tokens.flatMap((_, i) => {
      const row = whole!.subarray(i * config.vocabSize, (i + 1) * config.vocabSize);
      const largest = row.reduce((most, logit) => Math.max(most, logit));
      return [row.indexOf(largest), largest];
    });
    expect([...top!]).toEqual(pairs);
    expect([...(await decoder.step(rows.slice(0, 1)))[0]!]).toEqual(pairs);
    await decoder.release();
    await pooling.release();
  });
});
