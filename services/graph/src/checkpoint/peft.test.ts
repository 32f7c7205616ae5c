import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { between, generator, testSeed } from '../../test/random.ts';
import { randomLora, randomModel } from '../../test/random-model.ts';
import { casesWith, readCase, readTensors, specOf, type TrainingCase } from '../../test/reference-cases.ts';
import type { LoraConfig } from '../training/lora.ts';
import { initialPrefix, promptEmbeddings } from '../training/prefix.ts';
import { openCheckpoint } from './checkpoint.ts';
import { CheckpointError } from './errors.ts';
import {
  readAdapter,
  readLoraAdapter,
  readPrefixAdapter,
  writeLoraAdapter,
  writePrefixAdapter,
} from './peft.ts';
import { writeSafetensors } from './safetensors.ts';

const random = generator(testSeed('adapter folders'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-adapters-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const model = randomModel(join(folder, 'base'), { attention_bias: true }, random);
const LORA: LoraConfig = { r: 2, loraAlpha: 3, targetModules: ['q_proj', 'v_proj'], useRslora: false };

describe('adapters that peft wrote', () => {
  test.each(casesWith('peft'))('%s is read as what was trained, and written as it was read', (_, path) => {
    const expected = readCase<TrainingCase>(path, 'expected_training.json');
    const final = readTensors(join(path, 'final.safetensors'));
    const { config } = openCheckpoint(join(path, '..', expected.base));
    const spec = specOf(expected, final);
    const copy = join(folder, 'copy');
    if (spec.method === 'ptuning_v2') {
      const { embeddings } = readPrefixAdapter(join(path, 'peft'), config);
      const { data } = promptEmbeddings(config, spec.prefix, final);
      expect(Math.max(...data.map((x, i) => Math.abs(x - embeddings[i]!)))).toBeLessThan(1e-5);
      writePrefixAdapter(copy, config, spec.prefix, final, 'base');
      const again = readAdapter(copy, config);
      expect(again).toMatchObject({ kind: 'prefix', embeddings: data });
    } else {
      const adapter = readLoraAdapter(join(path, 'peft'), config);
      for (const [name, { data }] of adapter.tensors) expect(data, name).toEqual(final.get(name)!.data);
      expect(adapter.tensors.size).toBe(final.size);
      writeLoraAdapter(copy, adapter, 'base');
      expect(readAdapter(copy, config)).toEqual({ kind: 'lora', ...adapter });
    }
  });
});

describe('adapters of our own', () => {
  test.each<[string, Partial<LoraConfig>]>([
    ['plain', {}],
    ['rsLoRA with dropout', { useRslora: true, loraDropout: 0.1 }],
    ['every bias', { bias: 'all' }],
    ['biases of its own modules', { bias: 'lora_only' }],
    ['whole modules', { modulesToSave: ['lm_head', 'embed_tokens', 'model.norm'] }],
    ['a whole module with its bias, and every bias', { bias: 'all', modulesToSave: ['k_proj'] }],
  ])('%s: read as written, under the names that peft loads', (name, change) => {
    const adapter = randomLora(
      model,
      { ...LORA, bias: 'none', loraDropout: 0, modulesToSave: [], ...change },
      random,
    );
    const path = join(folder, name.replaceAll(/\W+/g, '-'));
    writeLoraAdapter(path, adapter, 'base');
    expect(readLoraAdapter(path, model.config)).toEqual(adapter);
    for (const tensor of readTensors(join(path, 'adapter_model.safetensors')).keys())
      expect(tensor).toMatch(/^base_model\.model\.(?!.*(default|modules_to_save))/);
  });

  test('all-linear is written out, since peft takes the word for any model', () => {
    const adapter = randomLora(model, { ...LORA, targetModules: ['all-linear'] }, random);
    writeLoraAdapter(join(folder, 'all'), adapter, 'base');
    const json = JSON.parse(readFileSync(join(folder, 'all', 'adapter_config.json'), 'utf8'));
    expect(json.target_modules).toContain('down_proj');
    expect(json.target_modules).not.toContain('all-linear');
    expect(readLoraAdapter(join(folder, 'all'), model.config).tensors).toEqual(adapter.tensors);
  });

  test('of a LLaVA: names of its decoder alone, those of now and of before read', () => {
    const adapter = randomLora(model, { ...LORA, bias: 'none', loraDropout: 0, modulesToSave: [] }, random);
    const path = join(folder, 'of-llava');
    writeLoraAdapter(path, adapter, 'base', true);
    const file = join(path, 'adapter_model.safetensors');
    const now = readTensors(file);
    const layer = 'base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_A.weight';
    expect([...now.keys()]).toContain(layer);
    const configFile = join(path, 'adapter_config.json');
    const json = JSON.parse(readFileSync(configFile, 'utf8'));
    // An end such as q_proj would be found in the tower too.
    expect(json.target_modules).toContain('model.language_model.layers.1.self_attn.v_proj');
    expect(json.target_modules).toHaveLength(4);
    expect(readLoraAdapter(path, model.config).tensors).toEqual(adapter.tensors);

    const older = (name: string) => name.replace('model.language_model.', 'language_model.model.');
    writeSafetensors(file, new Map([...now].map(([name, tensor]) => [older(name), tensor])));
    writeFileSync(configFile, JSON.stringify({ ...json, target_modules: json.target_modules.map(older) }));
    expect(readLoraAdapter(path, model.config).tensors).toEqual(adapter.tensors);
  });
});

describe('what does not fit is refused by name', () => {
  const path = join(folder, 'refused');
  const written = () => {
    writeLoraAdapter(path, randomLora(model, LORA, random), 'base');
    return JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8'));
  };
  const read = () => readAdapter(path, model.config);

  test.each([
    [{ peft_type: 'IA3' }, 'peft_type IA3 is not supported; LORA and PREFIX_TUNING are'],
    [{ use_dora: true }, 'use_dora is not supported'],
    [{ rank_pattern: { q_proj: 1 } }, 'rank_pattern is not supported'],
    [{ layers_to_transform: [1] }, 'layers_to_transform is not supported'],
    [{ init_lora_weights: 'pissa' }, 'init_lora_weights'],
    [{ bias: 'some' }, 'bias must be none, all or lora_only'],
    [{ r: 0 }, 'r must be from 1'],
    [{ lora_alpha: 'much' }, 'lora_alpha must be a number'],
    [{ target_modules: '.*q_proj' }, 'a pattern as target_modules'],
    [{ target_modules: ['q_proj', 'c_attn'] }, 'c_attn is not in the model'],
    [{ target_modules: ['q_proj', 'k_proj'] }, 'k_proj.lora_A.weight is missing'],
    [{ target_modules: ['q_proj'] }, 'belongs to no target module'],
    [{ r: 3 }, 'has the shape [2,32]; the model asks for [3,32]'],
    [{ modules_to_save: ['lm_head'] }, 'tensor base_model.model.lm_head.weight is missing'],
  ])('%j', (change, message) => {
    const json = { ...written(), ...change };
    writeFileSync(join(path, 'adapter_config.json'), JSON.stringify(json));
    expect(read).toThrow(CheckpointError);
    expect(read).toThrow(message);
  });

  test('a value that is no number, and tensors that nothing asks for', () => {
    written();
    const file = join(path, 'adapter_model.safetensors');
    const tensors = readTensors(file);
    const [first] = tensors.values();
    first!.data[between(random, 0, first!.data.length - 1)] = Number.NaN;
    writeSafetensors(file, tensors);
    expect(read).toThrow('not a finite number');
    first!.data.fill(0);
    tensors.set('base_model.model.lm_head.original_module.bias', { shape: [1], data: Float32Array.of(1) });
    writeSafetensors(file, tensors);
    expect(read).toThrow('belongs to no target module');
  });

  test('a prefix of another model', () => {
    const prefix = { numVirtualTokens: 3, prefixProjection: false, encoderHiddenSize: 0 };
    writePrefixAdapter(path, model.config, prefix, initialPrefix(model.config, prefix, random), 'base');
    const other = { ...model.config, layers: 3 };
    expect(() => readAdapter(path, other)).toThrow(
      'prompt_embeddings has the shape [3,64]; the model asks for [3,96]',
    );
    const config = JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8'));
    writeFileSync(join(path, 'adapter_config.json'), JSON.stringify({ ...config, num_virtual_tokens: 1e9 }));
    expect(read).toThrow('num_virtual_tokens must be from 1');
  });
});
