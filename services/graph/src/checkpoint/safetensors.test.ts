import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openCheckpoint } from './checkpoint.ts';
import { CheckpointError } from './errors.ts';
import {
  parseSafetensorsHeader,
  readFloat32,
  readSafetensorsHeader,
  writeSafetensors,
} from './safetensors.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-safetensors-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A file's bytes: a header, and `dataBytes` of data. @param claimed length that the file says its header has */
function file(header: unknown, dataBytes: number, claimed?: bigint): Buffer {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(claimed ?? BigInt(json.length));
  return Buffer.concat([length, json, Buffer.alloc(dataBytes)]);
}
const tensor = (dtype: string, shape: unknown, from: number, to: number) => ({
  dtype,
  shape,
  data_offsets: [from, to],
});

const LIES: Record<string, Buffer> = {
  empty: Buffer.alloc(0),
  'shorter than its length field': Buffer.alloc(5),
  'a header of 2^60 bytes': file({}, 0, 2n ** 60n),
  'a header longer than the file': file({}, 0, 1000n),
  'no JSON': file('{"a":', 0),
  'a list': file([], 0),
  'not UTF-8': file(Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'), 0, 3n),
  'an unknown type': file({ a: tensor('F8_E9', [1], 0, 1) }, 1),
  'a shape larger than its bytes': file({ a: tensor('F32', [1000], 0, 4) }, 4),
  'a shape whose product overflows': file({ a: tensor('F32', [2 ** 31, 2 ** 31, 2 ** 31], 0, 4) }, 4),
  'a negative dimension': file({ a: tensor('F32', [-1], 0, 4) }, 4),
  'a fractional dimension': file({ a: tensor('F32', [1.5], 0, 6) }, 6),
  'offsets turned round': file({ a: tensor('F32', [1], 4, 0) }, 4),
  'offsets beyond the file': file({ a: tensor('F32', [2], 0, 8) }, 4),
  'an overlap': file({ a: tensor('F32', [2], 0, 8), b: tensor('F32', [2], 4, 12) }, 12),
  'a hole': file({ a: tensor('F32', [1], 0, 4), b: tensor('F32', [1], 8, 12) }, 12),
  'bytes after the last tensor': file({ a: tensor('F32', [1], 0, 4) }, 8),
  'a tensor named twice': file(
    '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
    4,
  ),
  'a tensor that is a number': file({ a: 7 }, 0),
};

test.each(Object.keys(LIES))('a file with %s is refused', (name) => {
  const bytes = LIES[name]!;
  expect(() => parseSafetensorsHeader(bytes, bytes.length)).toThrow(CheckpointError);
  writeFileSync(join(folder, 'x.safetensors'), bytes);
  const failure = (() => {
    try {
      readSafetensorsHeader(join(folder, 'x.safetensors'));
    } catch (error) {
      return error as Error;
    }
  })();
  expect(failure).toBeInstanceOf(CheckpointError);
  expect(failure!.message).not.toContain(folder);
});

test('what is written is read again, in single and half precision', () => {
  const data = Float32Array.from([0, -1.5, 65504, 2 ** -14, 1 / 3]);
  for (const [dtype, tolerance] of [
    ['F32', 0],
    ['F16', 2e-4],
  ] as const) {
    const path = join(folder, `${dtype}.safetensors`);
    writeSafetensors(path, new Map([['w', { shape: [5], data }]]), { dtype });
    const entry = readSafetensorsHeader(path).tensors.get('w')!;
    const back = readFloat32(path, entry);
    for (const [i, value] of data.entries())
      expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(tolerance);
  }
});

const CONFIG = {
  model_type: 'llama',
  vocab_size: 8,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
};

test.each([
  [{ ...CONFIG, model_type: 'gpt2' }, 'model_type gpt2 is not supported'],
  [{ ...CONFIG, hidden_act: 'gelu' }, 'hidden_act gelu is not supported'],
  [{ ...CONFIG, rope_scaling: { rope_type: 'dynamic', factor: 2 } }, 'rope type dynamic is not supported'],
  [{ ...CONFIG, vocab_size: -1 }, 'vocab_size must be a positive whole number'],
  [{ ...CONFIG, num_key_value_heads: 3 }, 'must be a multiple of num_key_value_heads'],
])('a checkpoint that is not supported is refused by name of what is missing', (config, message) => {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  expect(() => openCheckpoint(folder)).toThrow(message);
});

test('shards that climb out of the folder are not opened', () => {
  writeFileSync(join(folder, 'config.json'), JSON.stringify(CONFIG));
  for (const name of ['../x.safetensors', '/etc/passwd', 'a/b.safetensors', '..\\x.safetensors']) {
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { w: name } }));
    expect(() => openCheckpoint(folder)).toThrow('names an impossible file');
  }
});
