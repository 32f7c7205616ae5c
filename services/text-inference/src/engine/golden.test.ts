/** The engine over the real runner: greedy tokens equal the reference cases, whatever shares the batch. */

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { random } from '../../test/tiny-model.ts';
import { Engine } from './engine.ts';
import { createRunner } from './onnx-runner.ts';
import { AdapterError } from './runner.ts';

const golden = process.env.LANDFALL_GOLDEN_DIR ?? '';
const here = existsSync(golden);

interface Case {
  prompt: number[];
  tokens: number[];
}

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'engine-golden-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const read = (...parts: string[]) => JSON.parse(readFileSync(path.join(golden, ...parts), 'utf8'));
const decode = (tokens: number[]) => tokens.map((t) => `${t} `).join('');

describe.runIf(here)('greedy tokens of the reference cases', () => {
  test.each(['llama', 'qwen2', 'mistral', 'qwen3'])(
    '%s: arrivals at random, adapters mixed, a pool that runs short',
    async (name) => {
      const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
      console.log(`${name}: LANDFALL_TEST_SEED=${seed}`);
      const next = random(seed);
      // 64 tokens for up to five sequences of 24 to 41: some are preempted and computed anew.
      const runner = await createRunner({
        folder: path.join(golden, name),
        cacheFolder: folder,
        threads: 1,
        maxBatch: 5,
        blocks: 16,
        blockSize: 4,
        adapterSlots: 2,
      });
      const cases: (Case & { slot: number })[] = read(name, 'expected_forward.json').greedy.map(
        (c: Case) => ({ ...c, slot: 0 }),
      );
      if (existsSync(path.join(golden, `${name}-lora`))) {
        await runner.loadAdapter(2, path.join(golden, `${name}-lora`, 'peft'));
        cases.push(
          ...[read(`${name}-lora`, 'expected_merged.json')].flat().map((c: Case) => ({ ...c, slot: 2 })),
        );
      }
      const engine = new Engine({
        runner,
        decode,
        eos: new Set(),
        limits: { maxBatch: 5, maxPrefillTokens: 32, maxChunkTokens: 8 },
      });
      const waiting = Array.from({ length: 12 }, (_, i) => ({
        id: `${i}`,
        ...cases[Math.floor(next() * cases.length)]!,
      }));
      const expected = new Map(waiting.map((c) => [c.id, decode(c.tokens)]));
      const got = new Map(waiting.map((c) => [c.id, '']));
      let preempted = 0;
      while (waiting.length > 0 || engine.busy) {
        while (waiting.length > 0 && (!engine.busy || next() < 0.3)) {
          const { id, prompt, tokens, slot } = waiting.shift()!;
          const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0n };
          engine.submit(
            {
              id,
              prompt,
              adapter: slot === 0 ? undefined : `slot ${slot}`,
              tenant: 'default',
              client: next() < 0.5 ? 'one' : 'two',
              priority: Math.floor(next() * 3),
              sampling,
              maxTokens: tokens.length,
              stop: [],
              ignoreEos: true,
              promptLookup: next() < 0.5 ? 3 : 0,
            },
            slot,
          );
        }
        const report = await engine.step();
        preempted += report?.preempted ?? 0;
        for (const event of report?.events ?? []) {
          expect(event.error).toBeUndefined();
          got.set(event.id, got.get(event.id)! + event.text);
        }
      }
      console.log(`${name}: ${preempted} preempted`);
      expect(got).toEqual(expected);
      await runner.release();
    },
  );

  test('an adapter of another shape is refused by name', async () => {
    const options = {
      cacheFolder: folder,
      threads: 1,
      maxBatch: 1,
      blocks: 16,
      blockSize: 16,
      adapterSlots: 1,
    };
    const runner = await createRunner({ folder: path.join(golden, 'llama'), ...options });
    const other = path.join(folder, 'other');
    cpSync(path.join(golden, 'llama-ptuning_v2', 'peft'), other, { recursive: true });
    const file = path.join(other, 'adapter_config.json');
    const config = JSON.parse(readFileSync(file, 'utf8'));
    writeFileSync(file, JSON.stringify({ ...config, num_virtual_tokens: 9 }));
    const refused = runner.loadAdapter(1, other);
    await expect(refused).rejects.toThrow(AdapterError);
    await expect(refused).rejects.toThrow(
      'prompt_embeddings has the shape [8,128]; the model asks for [9,128]',
    );
    await expect(runner.loadAdapter(1, folder)).rejects.toThrow('adapter_config.json is missing');
    await runner.release();
  });
});

test.skipIf(here)('the reference cases are absent: set LANDFALL_GOLDEN_DIR', () => {});
