import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SMALL } from '../../test/random-model.ts';
import { casesWith, readCase, readTensors, specOf, type TrainingCase } from '../../test/reference-cases.ts';
import { openCheckpoint } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import { readModelConfig } from '../models/config.ts';
import { loraOwnWeights, loraScaling, targetedModules } from './lora.ts';
import { parameterCounts, trainableShapes } from './methods.ts';

const config = readModelConfig(SMALL);
const tied = readModelConfig({ ...SMALL, tie_word_embeddings: true });
const LORA = { r: 2, loraAlpha: 6, targetModules: ['q_proj'], useRslora: false };

describe('numbers of parameters are those that peft prints', () => {
  /** [trainable, all] as get_nb_trainable_parameters of peft 0.21 gives them. */
  const PRINTED: Record<string, [number, number]> = {
    'llama-lora': [1136, 6336],
    'qwen2-lora': [928, 5776],
    'qwen3-ptuning_v2': [319, 3131],
    'mistral-ptuning_v2': [64, 4880],
  };
  const cases = casesWith('expected_training.json').filter(([name]) => name.startsWith('small '));
  test.each(cases.filter(([name]) => name.slice(6) in PRINTED))('%s', (name, folder) => {
    const expected = readCase<TrainingCase>(folder, 'expected_training.json');
    const spec = specOf(expected, readTensors(join(folder, 'initial.safetensors')));
    const { config: model } = openCheckpoint(join(folder, '..', expected.base));
    const { trainable, total } = parameterCounts(model, spec);
    expect([trainable, total]).toEqual(PRINTED[name.slice(6)]);
  });
});

test('the scale of an adapter', () => {
  expect(loraScaling({ ...LORA, r: 4, loraAlpha: 6 })).toBe(1.5);
  expect(loraScaling({ ...LORA, r: 4, loraAlpha: 6, useRslora: true })).toBe(3);
});

test('targets are names, ends of names at a dot, or all linear modules but the head', () => {
  const named = (...targets: string[]) => [...targetedModules(config, targets).keys()];
  expect(named('model.layers.1.mlp.up_proj')).toEqual(['model.layers.1.mlp.up_proj']);
  expect(named('self_attn.k_proj')).toEqual([0, 1].map((i) => `model.layers.${i}.self_attn.k_proj`));
  expect(named('all-linear')).toHaveLength(14);
  expect(named('all-linear')).not.toContain('lm_head');
  expect(() => named('proj')).toThrow('target module proj is not in the model');
  expect(() => named('q_proj', 'c_attn')).toThrow(CheckpointError);
});

test('whole modules are named by any end of their names', () => {
  const own = (modulesToSave: string[], of = config) => [
    ...loraOwnWeights(of, { ...LORA, modulesToSave }).values(),
  ];
  expect(own(['lm_head'])).toEqual(['lm_head.weight']);
  expect(own(['model.norm'])).toEqual(['model.norm.weight']);
  expect(own(['norm'])).toHaveLength(5);
  expect(() => own(['nothing'])).toThrow('modules_to_save: nothing is not in the model');
  expect(() => own(['q_proj'])).toThrow('already has an adapter');
  expect(() => own(['lm_head'], tied)).toThrow('tied');
  expect(() => own(['embed_tokens'], tied)).toThrow('tied');
});

test('frozen layers are counted from the top; a tied head does not train by itself', () => {
  const names = (trainableLayers: number, finalNorm: boolean, head: boolean, of = config) => [
    ...trainableShapes(of, { method: 'frozen', frozen: { trainableLayers, finalNorm, head } }).keys(),
  ];
  expect(names(1, false, false).every((name) => name.startsWith('model.layers.1.'))).toBe(true);
  expect(names(1, true, true)).toEqual(expect.arrayContaining(['model.norm.weight', 'lm_head.weight']));
  expect(names(2, true, true)).not.toContain('model.embed_tokens.weight');
  expect(() => names(3, true, false)).toThrow('3 layers are to train; the model has 2');
  expect(() => names(1, true, true, tied)).toThrow('tied');
});

test('a weight that is not there is named', () => {
  const shapes = () => trainableShapes(config, { method: 'partial', names: ['model.norm.bias'] });
  expect(shapes).toThrow('the model has no weight model.norm.bias');
});
