import { readModelConfig } from '@landfall/graph/models/config.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import { describe, expect, it } from 'vitest';
import { chooseMethod, type MethodName, type Situation } from './choose-method.ts';
import { estimateRun, type RunPlan, whatFits } from './estimate.ts';
import { advisedEpochs, advisedLearningRate, advisedWarmup } from './settings.ts';

const GIB = 1024 ** 3;
/** The shape of SmolLM2-135M. */
const model = readModelConfig({
  model_type: 'llama',
  vocab_size: 49_152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
});

const needs = { lora: GIB, qlora: GIB / 2, ptuning_v2: GIB, frozen: GIB, full: 4 * GIB };
const situation = (changes: Partial<Situation>): Situation => ({
  rows: 300,
  understanding: false,
  gpus: 0,
  goal: 'balanced',
  memoryBytes: 8 * GIB,
  needs,
  ...changes,
});
const LORA = { r: 8, loraAlpha: 16, targetModules: ['q_proj', 'v_proj'], useRslora: false };
const SPECS: Record<string, TrainableSpec> = {
  lora: { method: 'lora', lora: LORA },
  qlora: { method: 'qlora', lora: LORA },
  ptuning_v2: {
    method: 'ptuning_v2',
    prefix: { numVirtualTokens: 16, prefixProjection: false, encoderHiddenSize: 0 },
  },
  frozen: { method: 'frozen', frozen: { trainableLayers: 8, finalNorm: true, head: false } },
  full: { method: 'full' },
};
const estimate = (changes: Partial<RunPlan> & { spec: TrainableSpec }) =>
  estimateRun(model, { batchSize: 4, tokensPerRow: 128, epochs: 1, rows: 400, threads: 2, ...changes });

describe('advice', () => {
  it('chooses by rows, then by task, then by memory', () => {
    const of = (changes: Partial<Situation>) => chooseMethod(situation(changes)).method;
    expect(of({})).toBe('lora');
    expect(of({ understanding: true })).toBe('ptuning_v2');
    expect(of({ understanding: true, goal: 'best' })).toBe('lora');
    expect(of({ rows: 9_999 })).toBe('lora');
    expect(of({ rows: 10_000, gpus: 1 })).toBe('frozen');
    expect(of({ rows: 10_000 })).toBe('frozen');
    expect(of({ rows: 100_000, gpus: 4 })).toBe('full');
    expect(of({ rows: 100_001 })).toBe('full');
    const tight = situation({ needs: { ...needs, lora: 9 * GIB } });
    expect(chooseMethod(tight)).toMatchObject({
      method: 'qlora',
      reason: expect.stringMatching(/9\.0 GiB of 8\.0 GiB, and qlora fits/),
    });
    expect(of({ rows: 200_000, memoryBytes: 2 * GIB })).toBe('frozen');
    expect(chooseMethod(situation({ memoryBytes: 1 })).reason).toMatch(/even qlora .* smaller batch_size/);
  });

  it('counts parameters as peft prints them', () => {
    const count = (name: string) => {
      const { trainableParameters, totalParameters } = estimate({ spec: SPECS[name]! });
      return [trainableParameters, totalParameters];
    };
    // rank x (inputs + outputs) of q_proj and v_proj in 30 layers.
    const lora = 30 * 8 * (576 + 576 + 576 + 192);
    expect(count('lora')).toEqual([lora, 134_515_008 + lora]);
    expect(count('qlora')).toEqual(count('lora'));
    const prefix = 16 * 30 * 2 * 3 * 64;
    expect(count('ptuning_v2')).toEqual([prefix, 134_515_008 + prefix]);
    expect(count('full')).toEqual([134_515_008, 134_515_008]);
  });

  it('estimates what was measured for this shape, batch 4 x 128 on two cores', () => {
    // Peak resident MiB of a bare run; a worker has some 130 MiB of libraries beside it.
    const measured = { lora: 1344, qlora: 483, full: 4029 };
    for (const [name, mib] of Object.entries(measured)) {
      const { memoryBytes } = estimate({ spec: SPECS[name]! });
      expect(memoryBytes / 2 ** 20 / (mib + 130), name).toBeGreaterThan(0.75);
      expect(memoryBytes / 2 ** 20 / (mib + 130), name).toBeLessThan(1.25);
    }
  });

  it.each(Object.keys(SPECS))(
    '%s takes more memory and time for more tokens, less with checkpointing',
    (name) => {
      const spec = SPECS[name]!;
      const small = estimate({ spec, tokensPerRow: 64 });
      const large = estimate({ spec, tokensPerRow: 256 });
      expect(large.memoryBytes).toBeGreaterThan(small.memoryBytes);
      expect(large.seconds).toBeGreaterThan(small.seconds);
      const again = estimate({ spec, tokensPerRow: 256, checkpointing: true });
      expect(again.memoryBytes).toBeLessThanOrEqual(large.memoryBytes);
      expect(again.seconds).toBeGreaterThanOrEqual(large.seconds);
    },
  );

  it('names what would fit, each within the limit', () => {
    const plan = { batchSize: 16, tokensPerRow: 256, epochs: 1, rows: 400, threads: 2 };
    const limit = 1.5 * GIB;
    for (const spec of Object.values(SPECS)) {
      const ways = whatFits(model, { ...plan, spec }, limit);
      if (spec.method !== 'qlora') expect(ways.length).toBeGreaterThan(0);
      for (const { memoryBytes } of ways) expect(memoryBytes).toBeLessThanOrEqual(limit);
    }
    expect(whatFits(model, { ...plan, spec: SPECS.lora! }, 1)).toEqual([]);
  });

  it('shows few rows more often', () => {
    expect([100, 300, 1000, 9000].map(advisedEpochs)).toEqual([20, 20, 6, 3]);
    expect(advisedWarmup(400)).toBe(20);
  });

  it('gives narrower models larger rates, and whole models smaller ones than adapters', () => {
    const rate = (hiddenSize: number, method: MethodName = 'lora') =>
      advisedLearningRate(method, { ...model, hiddenSize });
    expect([64, 256, 1024, 4096].map((size) => rate(size))).toEqual([5e-3, 5e-3, 1.25e-3, 3.125e-4]);
    expect(rate(4096, 'full')).toBeCloseTo(2e-5, 6);
    for (const size of [64, 576, 4096]) expect(rate(size, 'full')).toBeLessThanOrEqual(rate(size, 'frozen'));
  });
});
