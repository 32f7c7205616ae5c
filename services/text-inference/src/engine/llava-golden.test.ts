/** Images among the engine's tokens: the reference case's greedy tokens in any company, and shared only where images are the same. */

import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { readFloat32, readSafetensorsHeader } from '@landfall/graph/checkpoint/safetensors.ts';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { ImageTokens } from '@landfall/graph/vision/image-tokens.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { random } from '../../test/tiny-model.ts';
import { Engine } from './engine.ts';
import { createRunner } from './onnx-runner.ts';
import type { EngineRequest, PromptImage } from './sequence.ts';

const small = path.join(import.meta.dirname, '../../../graph/test/fixtures/reference');
const given = process.env.LANDFALL_GOLDEN_DIR ?? '';
const cases = [small, ...(existsSync(given) ? [given] : [])].flatMap((root) =>
  readdirSync(root)
    .map((name) => path.join(root, name))
    .filter((folder) => existsSync(path.join(folder, 'pixel_values.safetensors')))
    .filter((folder) => read(folder, 'config.json').model_type === 'llava'),
);

let cacheFolder: string;
beforeAll(() => {
  cacheFolder = mkdtempSync(path.join(os.tmpdir(), 'engine-llava-'));
});
afterAll(() => rmSync(cacheFolder, { recursive: true, force: true }));

function read(folder: string, file: string) {
  return JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
}
const decode = (tokens: number[]) => tokens.map((t) => `${t} `).join('');
const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
console.log(`LANDFALL_TEST_SEED=${seed}`);

async function open(folder: string) {
  const checkpoint = openLlava(folder);
  const tower = await ImageTokens.create(checkpoint, { threads: 1, cacheFolder });
  const file = path.join(folder, 'pixel_values.safetensors');
  const [entry] = [...readSafetensorsHeader(file).tensors.values()];
  const pixels = readFloat32(file, entry!);
  const tokens = await tower.run(pixels);
  const other = await tower.run(pixels.map((value) => -value));
  const { count } = tower;
  await tower.release();
  const { imageToken, language } = checkpoint.config;
  const ids: number[] = read(folder, 'expected_forward.json').input_ids;
  const places: number[] = [];
  for (let at = ids.indexOf(imageToken); at >= 0; at = ids.indexOf(imageToken, at + count)) places.push(at);
  const each = count * language.hiddenSize;
  const images = (all: Float32Array, digest: string): PromptImage[] =>
    places.map((at, i) => ({ at, digest: `${digest} ${i}`, tokens: all.slice(i * each, (i + 1) * each) }));
  return { ids, images: images(tokens, 'shown'), others: images(other, 'other'), imageToken, language };
}

function request(id: string, prompt: number[], more: Partial<EngineRequest> = {}): EngineRequest {
  const sampling = { temperature: 0, topK: 0, topP: 1, seed: 0n };
  const plain = { tenant: 'default', client: 'one', priority: 0, maxTokens: 8, stop: [], ignoreEos: true };
  return { id, prompt, sampling, ...plain, ...more };
}

describe.each(cases.map((folder) => [path.relative(path.dirname(path.dirname(folder)), folder), folder]))(
  '%s',
  (_, folder) => {
    test('greedy tokens in any company: chunks, shared beginnings, guesses, preemption', async () => {
      const { ids, images, others, imageToken, language } = await open(folder);
      const expected: number[] = read(folder, 'expected_forward.json').greedy;
      const next = random(seed);
      const blockSize = 4;
      const one = Math.ceil((ids.length + expected.length) / blockSize);
      const limits = { maxBatch: 5, maxPrefillTokens: 32, maxChunkTokens: 8 };
      const runner = await createRunner({
        folder,
        cacheFolder,
        threads: 1,
        maxBatch: 5,
        blocks: 2 * one + 2,
        blockSize,
        adapterSlots: 1,
      });
      const engine = new Engine({ runner, decode, eos: new Set(), limits });
      const text = () => {
        const token = Math.floor(next() * Math.min(imageToken, language.vocabSize));
        return [1, ...new Array<number>(1 + Math.floor(next() * 9)).fill(token)];
      };
      const kinds = ['shown', 'other', 'text'] as const;
      const waiting = Array.from({ length: 16 }, (_, i) => {
        const kind = i < 3 ? kinds[i]! : kinds[Math.floor(next() * 3)]!;
        const more = {
          client: next() < 0.5 ? 'one' : 'two',
          priority: Math.floor(next() * 3),
          promptLookup: next() < 0.5 ? 3 : 0,
          maxTokens: expected.length,
        };
        const shown = kind === 'shown' ? { images } : kind === 'other' ? { images: others } : {};
        return {
          kind,
          request: request(`${i} ${kind}`, kind === 'text' ? text() : ids, { ...more, ...shown }),
        };
      });
      const answers = new Map(waiting.map(({ request: { id } }) => [id, '']));
      let preempted = 0;
      let found = 0;
      while (waiting.length > 0 || engine.busy) {
        while (waiting.length > 0 && (!engine.busy || next() < 0.4))
          engine.submit(waiting.shift()!.request, 0);
        const report = await engine.step();
        preempted += report?.preempted ?? 0;
        for (const event of report?.events ?? []) {
          expect(event.error).toBeUndefined();
          answers.set(event.id, answers.get(event.id)! + event.text);
          found += event.found ?? 0;
        }
      }
      console.log(`${preempted} preempted, ${found} prompt tokens found`);
      const of = (kind: string) =>
        [...answers].filter(([id]) => id.endsWith(kind)).map(([, answer]) => answer);
      expect(new Set(of('shown'))).toEqual(new Set([decode(expected)]));
      expect(new Set(of('other')).size).toBe(1);
      await runner.release();
    });

    test('a beginning is shared by the same image alone, whose tokens are the same as any', async () => {
      const { ids, images, others } = await open(folder);
      const runner = await createRunner({
        folder,
        cacheFolder,
        threads: 1,
        maxBatch: 1,
        blocks: 64,
        blockSize: 4,
        adapterSlots: 0,
      });
      const limits = { maxBatch: 1, maxPrefillTokens: 64, maxChunkTokens: 64 };
      const engine = new Engine({ runner, decode, eos: new Set(), limits });
      const foundOf = async (id: string, shown: PromptImage[], tenant = 'default') => {
        engine.submit(request(id, ids, { images: shown, tenant, maxTokens: 1 }), 0);
        for (;;) {
          const event = (await engine.step())!.events.find((each) => each.found !== undefined);
          if (event) return event.found!;
        }
      };
      const before = Math.floor(images[0]!.at / 4) * 4;
      const whole = Math.floor((ids.length - 1) / 4) * 4;
      expect(await foundOf('first', images)).toBe(0);
      expect(await foundOf('again', images)).toBe(whole);
      expect(await foundOf('another image', others)).toBe(before);
      expect(await foundOf('another tenant', images, 'other')).toBe(0);
      await runner.release();
    });

    test('what it looks at is the same for a part whichever way its tokens come, and sums to 1', async () => {
      const { ids, images } = await open(folder);
      const maps = async (limits: { maxPrefillTokens: number; maxChunkTokens: number }, company: boolean) => {
        const runner = await createRunner({
          folder,
          cacheFolder,
          threads: 1,
          maxBatch: 2,
          blocks: 64,
          blockSize: 4,
          adapterSlots: 0,
        });
        const engine = new Engine({ runner, decode, eos: new Set(), limits: { maxBatch: 2, ...limits } });
        const completion = [5, 9, 14, 3, 8, 21];
        if (company) engine.submit(request('beside', ids.slice(0, 1), { maxTokens: 20 }), 0);
        engine.submit(
          request('asked', ids, { images, completion, attend: [[0], [1, 2], [0, 1, 2, 3, 4, 5]] }),
          0,
        );
        try {
          for (;;) {
            const event = (await engine.step())!.events.find(({ finish, id }) => finish && id === 'asked');
            if (event) return event.maps!;
          }
        } finally {
          await runner.release();
        }
      };
      const alone = await maps({ maxPrefillTokens: 64, maxChunkTokens: 64 }, false);
      const chunked = await maps({ maxPrefillTokens: 3, maxChunkTokens: 3 }, true);
      expect(alone).toHaveLength(3);
      for (const [s, span] of alone.entries()) {
        expect(span).toHaveLength(images.length);
        for (const [i, map] of span.entries()) {
          expect(map.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);
          for (const [p, value] of map.entries()) expect(chunked[s]![i]![p]).toBeCloseTo(value, 5);
        }
      }
      expect([...alone[0]![0]!]).not.toEqual([...alone[1]![0]!]);
    });

    test('images where there are none, or where none can stand, are refused before anything runs', async () => {
      const { ids, images } = await open(folder);
      const runner = await createRunner({
        folder,
        cacheFolder,
        threads: 1,
        maxBatch: 1,
        blocks: 64,
        blockSize: 4,
        adapterSlots: 0,
      });
      const engine = new Engine({
        runner,
        decode,
        eos: new Set(),
        limits: { maxBatch: 1, maxPrefillTokens: 64, maxChunkTokens: 64 },
      });
      const shifted = images.map((image) => ({ ...image, at: image.at + 1 }));
      expect(() => engine.submit(request('a', ids, { images: shifted }), 0)).toThrow('can stand at token');
      expect(() => engine.submit(request('b', ids, { completion: [3], attend: [[0]] }), 0)).toThrow(
        'no image to look at',
      );
      expect(engine.busy).toBe(false);
      await runner.release();
    });
  },
);
