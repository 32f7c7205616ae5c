import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CheckpointError } from '../checkpoint/errors.ts';
import { readModelConfig } from './config.ts';
import { ropeTables } from './rope.ts';

/** What transformers 5.18 reads in a configuration, and the rotary frequencies that it computes of it. */
interface Reference {
  name: string;
  config: Record<string, unknown>;
  headDim: number;
  keyValueHeads: number;
  maxPositions: number;
  slidingWindow: number | null;
  /** Factor on cos and sin. */
  attention: number;
  /** [headDim / 2] */
  inverse: number[];
}

const references: Reference[] = JSON.parse(
  readFileSync(join(import.meta.dirname, 'fixtures', 'transformers-configs.json'), 'utf8'),
);

const plain = {
  model_type: 'llama',
  vocab_size: 64,
  hidden_size: 128,
  intermediate_size: 64,
  num_hidden_layers: 2,
  num_attention_heads: 4,
};

describe('a configuration means what it means to transformers', () => {
  test.each(references)('$name', ({ config: json, attention, inverse, slidingWindow, ...sizes }) => {
    const config = readModelConfig(json);
    expect(config).toMatchObject({
      headDim: sizes.headDim,
      keyValueHeads: sizes.keyValueHeads,
      maxPositions: sizes.maxPositions,
      slidingWindow: slidingWindow ?? undefined,
    });
    const { cos, sin } = ropeTables(config, 38);
    expect(inverse.length).toBe(config.headDim / 2);
    for (const position of [0, 1, 37]) {
      for (const [i, frequency] of inverse.entries()) {
        const at = position * inverse.length + i;
        expect(cos[at]).toBeCloseTo(Math.cos(position * frequency) * attention, 4);
        expect(sin[at]).toBeCloseTo(Math.sin(position * frequency) * attention, 4);
      }
      // Small angles tell the small frequencies.
      if (position === 1) {
        for (const [i, frequency] of inverse.entries())
          expect(Math.abs(sin[inverse.length + i]! / (Math.sin(frequency) * attention) - 1)).toBeLessThan(
            2e-6,
          );
      }
    }
  });

  test('options of another type change nothing, as there', () => {
    const json = { ...plain, num_key_value_heads: 2, attention_bias: true, mlp_bias: true };
    const biases = (model_type: string) => {
      const { attentionBias, outputBias, mlpBias } = readModelConfig({ ...json, model_type });
      return [attentionBias, outputBias, mlpBias];
    };
    expect(biases('llama')).toEqual([true, true, true]);
    expect(biases('qwen2')).toEqual([true, false, false]);
    expect(biases('qwen3')).toEqual([true, true, false]);
    expect(biases('mistral')).toEqual([false, false, false]);
    expect(readModelConfig({ ...json, sliding_window: 8 }).slidingWindow).toBeUndefined();
  });
});

test.each([
  ['an unknown type', { model_type: 'gemma' }, 'model_type gemma is not supported; llama, mistral'],
  ['no type', { model_type: undefined }, 'model_type undefined is not supported'],
  ['another activation', { hidden_act: 'gelu' }, 'hidden_act gelu is not supported'],
  [
    'an unknown rope type',
    { rope_scaling: { rope_type: 'longrope' } },
    'rope type longrope is not supported',
  ],
  ['no factor', { rope_scaling: { type: 'linear' } }, 'factor must be a number above 0'],
  ['a part of the head turned', { partial_rotary_factor: 0.5 }, 'partial_rotary_factor'],
  ['heads that do not divide', { num_key_value_heads: 3 }, 'multiple of num_key_value_heads'],
  ['an odd head', { head_dim: 7 }, 'head_dim must be even'],
  ['a missing size', { vocab_size: undefined }, 'vocab_size must be a positive whole number'],
  ['an absurd size', { num_hidden_layers: 1e9 }, 'num_hidden_layers must be at most'],
  [
    'windows in some layers',
    { model_type: 'qwen2', use_sliding_window: true, num_key_value_heads: 2 },
    'use_s',
  ],
])('%s is refused by name', (_, change, message) => {
  const read = () => readModelConfig({ ...plain, ...change });
  expect(read).toThrow(CheckpointError);
  expect(read).toThrow(message);
});
