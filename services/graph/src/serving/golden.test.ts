import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { casesWith, readCase } from '../../test/reference-cases.ts';
import { type Checkpoint, loadWeights, openCheckpoint } from '../checkpoint/checkpoint.ts';
import { mergeLora } from '../checkpoint/merge.ts';
import { readAdapter, readLoraAdapter, writeLoraAdapter } from '../checkpoint/peft.ts';
import { writeModel } from '../checkpoint/write-model.ts';
import { CachedDecoder, type DecodeRow } from './cached-decoder.ts';

const golden = process.env.LANDFALL_GOLDEN_DIR ?? '';

interface Greedy {
  prompt: number[];
  tokens: number[];
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-serving-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const argmax = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

function open(checkpoint: Checkpoint) {
  const options = { threads: 2, cacheFolder: folder, blocks: 64, blockSize: 16, adapterSlots: 2 };
  return CachedDecoder.create(checkpoint, options);
}

/** Decodes all cases in one batch, prompts in chunks, each with its own adapter. */
async function decode(
  decoder: CachedDecoder,
  cases: (Greedy & { slot: number })[],
  chunk: number,
): Promise<number[][]> {
  const states = cases.map(({ prompt, tokens, slot }, i) => ({
    pending: [...prompt],
    start: 0,
    produced: [] as number[],
    want: tokens.length,
    slot,
    blockTable: Array.from({ length: 8 }, (_, b) => 1 + i * 8 + ((b * 3) % 8)),
  }));
  for (;;) {
    const active = states.filter((s) => s.produced.length < s.want);
    if (active.length === 0) return states.map((s) => s.produced);
    const rows: DecodeRow[] = active.map((s) => ({
      tokens: s.pending.slice(0, chunk),
      start: s.start,
      blockTable: s.blockTable,
      adapterSlot: s.slot,
    }));
    const logits = await decoder.step(rows);
    for (const [i, s] of active.entries()) {
      const done = rows[i]!.tokens.length;
      s.start += done;
      s.pending.splice(0, done);
      if (s.pending.length > 0) continue;
      const token = argmax(logits[i]!);
      s.produced.push(token);
      s.pending.push(token);
    }
  }
}

describe('greedy decoding of every reference case', () => {
  const cases = casesWith('expected_forward.json').filter(([, path]) =>
    ['llama', 'qwen2', 'mistral', 'qwen3'].includes(
      readCase<{ model_type: string }>(path, 'config.json').model_type,
    ),
  );
  test.each(cases)('%s, in one batch, prompts whole and in chunks', async (_, path) => {
    const { greedy } = readCase<{ greedy: Greedy[] }>(path, 'expected_forward.json');
    const decoder = await open(openCheckpoint(path));
    for (const chunk of [1000, 3]) {
      const got = await decode(
        decoder,
        greedy.map((c) => ({ ...c, slot: 0 })),
        chunk,
      );
      expect(got).toEqual(greedy.map((c) => c.tokens));
    }
    await decoder.release();
  });
});

describe.runIf(existsSync(golden))('adapters of the reference cases', () => {
  const read = (...path: string[]) => JSON.parse(readFileSync(join(golden, ...path), 'utf8'));

  test.each(['llama', 'qwen2'])('%s with and without its adapter in one batch, and merged', async (base) => {
    const checkpoint = openCheckpoint(join(golden, base));
    const adapter = readLoraAdapter(join(golden, `${base}-lora`, 'peft'), checkpoint.config);
    const merged = read(`${base}-lora`, 'expected_merged.json');
    const expected: Greedy[] = merged.greedy ?? [merged].flat();
    const plain: Greedy[] = read(base, 'expected_forward.json').greedy;
    const decoder = await open(checkpoint);
    decoder.setAdapter(2, { kind: 'lora', ...adapter });
    const cases = [...expected.map((c) => ({ ...c, slot: 2 })), ...plain.map((c) => ({ ...c, slot: 0 }))];
    expect(await decode(decoder, cases, 1000)).toEqual(cases.map((c) => c.tokens));
    decoder.setAdapter(2, undefined);
    const without = await decode(
      decoder,
      plain.map((c) => ({ ...c, slot: 2 })),
      1000,
    );
    expect(without).toEqual(plain.map((c) => c.tokens));
    await decoder.release();

    const weights = loadWeights(checkpoint);
    mergeLora(checkpoint.config, weights, adapter);
    const config = read(base, 'config.json');
    writeModel(join(folder, `${base}-merged`), config, weights);
    const own = await open(openCheckpoint(join(folder, `${base}-merged`)));
    expect(
      await decode(
        own,
        expected.map((c) => ({ ...c, slot: 0 })),
        1000,
      ),
    ).toEqual(expected.map((c) => c.tokens));
    await own.release();
  });

  test.each(['llama', 'qwen2'])('%s with a prefix finds answers as likely as PyTorch does', async (base) => {
    const checkpoint = openCheckpoint(join(golden, base));
    const adapter = readAdapter(join(golden, `${base}-ptuning_v2`, 'peft'), checkpoint.config);
    const { probe } = read(`${base}-ptuning_v2`, 'expected_training.json');
    const decoder = await open(checkpoint);
    decoder.setAdapter(1, adapter);
    const start = decoder.prefixTokens(1);
    expect(start).toBe(8);
    const blockTables = probe.batch.input_ids.map((_: unknown, i: number) => [5 * i + 3, 5 * i + 1, 5 * i]);
    const rows: DecodeRow[] = probe.batch.input_ids.map((ids: number[], i: number) => {
      const labels: number[] = probe.batch.labels[i];
      const targets = labels.filter((label) => label !== -100);
      const length = labels.findLastIndex((label) => label !== -100) + 1;
      return {
        tokens: ids.slice(0, length - 1),
        start,
        blockTable: blockTables[i],
        adapterSlot: 1,
        targets,
      };
    });
    const scores = (await decoder.step(rows)).flatMap((row) => [...row]);
    expect(scores.reduce((sum, x) => sum - x, 0) / scores.length).toBeCloseTo(probe.loss, 4);

    // Its place in the cache is the sequence's own: what stood there before does not matter, nor does a neighbour.
    const prompt = rows[0]!.tokens;
    const base0 = { tokens: prompt, start: 0, blockTable: blockTables[0], adapterSlot: 0 };
    const tuned = { tokens: prompt, start, blockTable: blockTables[1], adapterSlot: 1 };
    const [plain, prefixed] = (await decoder.step([base0, tuned])).map((logits) => logits.slice());
    const [again] = await decoder.step([{ ...tuned, blockTable: blockTables[0] }]);
    for (const [i, logit] of again!.entries()) expect(logit).toBeCloseTo(prefixed![i]!, 4);
    expect(plain).not.toEqual(prefixed);
    await expect(decoder.step([{ ...tuned, start: 3 }])).rejects.toThrow("the adapter's 8 virtual tokens");
    await decoder.release();
  });

  test('a long completion is scored in parts', async () => {
    const checkpoint = openCheckpoint(join(golden, 'llama'));
    const decoder = await open(checkpoint);
    const blockTable = Array.from({ length: 16 }, (_, i) => 3 + i);
    const tokens = Array.from({ length: 240 }, (_, i) => (i * 37) % 500);
    const targets = [...tokens.slice(6), 9];
    const [whole] = await decoder.step([{ tokens, start: 0, blockTable, adapterSlot: 0, targets }]);
    for (const at of [0, 122, 123, 233]) {
      const row = { tokens: tokens.slice(0, 6 + at), start: 0, blockTable, adapterSlot: 0 };
      const [logits] = await decoder.step([row]);
      const most = Math.max(...logits!);
      const sum = logits!.reduce((total, x) => total + Math.exp(x - most), 0);
      expect(whole![at]).toBeCloseTo(logits![targets[at]!]! - most - Math.log(sum), 4);
    }
    await decoder.release();
  });

  test('an adapter folder is written as it was read', () => {
    const { config } = openCheckpoint(join(golden, 'llama'));
    const adapter = readLoraAdapter(join(golden, 'llama-lora', 'peft'), config);
    writeLoraAdapter(join(folder, 'adapter'), adapter, 'llama');
    expect(readLoraAdapter(join(folder, 'adapter'), config)).toEqual(adapter);
  });
});
