import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { AutoModelForCausalLM, env, Tensor } from '@huggingface/transformers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { greedyTokens } from '../../test/greedy.ts';
import { between, generator, testSeed } from '../../test/random.ts';
import { randomLora, randomModel, VARIANTS } from '../../test/random-model.ts';
import { loadWeights, openCheckpoint } from '../checkpoint/checkpoint.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import { writeLoraAdapter, writePrefixAdapter } from '../checkpoint/peft.ts';
import { initialPrefix } from '../training/prefix.ts';
import { exportHuggingFace } from './hugging-face.ts';
import { exportOnnx } from './onnx.ts';
import { openExportModel } from './sources.ts';

const random = generator(testSeed('exports'));
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-export-'));
  env.allowRemoteModels = false;
  env.localModelPath = folder;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LORA = { r: 3, loraAlpha: 6, targetModules: ['all-linear'], useRslora: true };
const prompts = () => [1, 5, 20].map((length) => Array.from({ length }, () => between(random, 3, 96)));
const int64 = (rows: number[][]) =>
  new Tensor('int64', BigInt64Array.from(rows.flat().map(BigInt)), [rows.length, rows[0]!.length]);

/** What transformers.js generates greedily from a batch, shorter prompts padded on the left. */
async function generate(path: string, batch: number[][], count: number): Promise<number[][]> {
  const model = await AutoModelForCausalLM.from_pretrained(basename(path));
  const width = Math.max(...batch.map((prompt) => prompt.length));
  const padded = (row: number[], filler: number) => [...Array(width - row.length).fill(filler), ...row];
  const output = (await model.generate({
    input_ids: int64(batch.map((prompt) => padded(prompt, 0))),
    attention_mask: int64(
      batch.map((prompt) =>
        padded(
          prompt.map(() => 1),
          0,
        ),
      ),
    ),
    max_new_tokens: count,
    min_new_tokens: count,
    do_sample: false,
    eos_token_id: 1_000_000,
  } as Parameters<typeof model.generate>[0])) as Tensor;
  await model.dispose();
  const all = [...(output.data as BigInt64Array)].map(Number);
  return batch.map((_, i) => all.slice((i + 1) * (width + count) - count, (i + 1) * (width + count)));
}

describe.each(Object.entries(VARIANTS))('%s', (name, changes) => {
  test('gives the tokens of our own engine in both formats, with an adapter merged', async () => {
    const at = (what: string) => join(folder, `${name.replaceAll(/\W+/g, '-')}-${what}`);
    const checkpoint = randomModel(at('base'), changes, random);
    const adapter = randomLora(checkpoint, LORA, random);
    writeLoraAdapter(at('adapter'), adapter, 'base');
    const asked = prompts();
    const plain = await greedyTokens(checkpoint, asked, 12, folder);
    const tuned = await greedyTokens(checkpoint, asked, 12, folder, { kind: 'lora', ...adapter });
    expect(tuned).not.toEqual(plain);

    await exportOnnx(openExportModel(at('base')), at('onnx'));
    for (const [i, prompt] of asked.entries())
      expect(await generate(at('onnx'), [prompt], 12)).toEqual([plain[i]]);
    // In one batch, and with weights in several files.
    const model = openExportModel(at('base'), at('adapter'));
    const { files } = await exportOnnx(model, at('onnx-tuned'), { maxDataBytes: 30_000 });
    expect(files.length).toBeGreaterThan(2);
    expect(await generate(at('onnx-tuned'), asked, 12)).toEqual(tuned);

    const report = await exportHuggingFace(model, at('hf'), { maxShardBytes: 30_000 });
    expect(report.files[0]).toBe(
      `model-00001-of-${String(report.files.length).padStart(5, '0')}.safetensors`,
    );
    expect(await greedyTokens(openCheckpoint(at('hf')), asked, 12, folder)).toEqual(tuned);
  });
});

describe('a model folder', () => {
  test('keeps the type of its base and takes what stands beside the weights along', async () => {
    const base = join(folder, 'half');
    const checkpoint = randomModel(base, { torch_dtype: 'bfloat16' }, random, 'BF16');
    for (const file of ['tokenizer.json', 'tokenizer_config.json', 'chat_template.jinja'])
      writeFileSync(join(base, file), `{"of": "${file}"}`);
    const report = await exportHuggingFace(openExportModel(base), join(folder, 'half-out'));
    expect(report).toMatchObject({ files: ['model.safetensors'], tokenizer: true });
    const again = openCheckpoint(join(folder, 'half-out'));
    expect([...again.tensors.values()].every(({ dtype }) => dtype === 'BF16')).toBe(true);
    expect(loadWeights(again)).toEqual(loadWeights(checkpoint));
    expect(readFileSync(join(folder, 'half-out', 'chat_template.jinja'), 'utf8')).toContain('chat_template');
    const json = (name: string) => JSON.parse(readFileSync(join(folder, 'half-out', name), 'utf8'));
    expect(json('config.json')).toMatchObject({ dtype: 'bfloat16', model_type: 'llama' });
    expect(json('config.json')).not.toHaveProperty('torch_dtype');
    expect(json('generation_config.json')).toEqual({
      _from_model_config: true,
      bos_token_id: 1,
      eos_token_id: 2,
    });

    const wide = join(folder, 'half-wide');
    await exportHuggingFace(openExportModel(base), wide, { dtype: 'F32' });
    expect(loadWeights(openCheckpoint(wide))).toEqual(loadWeights(checkpoint));
  });

  test('merges biases and whole modules that trained with an adapter', async () => {
    const base = join(folder, 'own');
    const checkpoint = randomModel(base, { attention_bias: true }, random);
    const lora = {
      ...LORA,
      targetModules: ['q_proj'],
      bias: 'all' as const,
      modulesToSave: ['lm_head', 'norm'],
    };
    const adapter = randomLora(checkpoint, lora, random);
    writeLoraAdapter(join(folder, 'own-adapter'), adapter, 'own');
    await exportHuggingFace(openExportModel(base, join(folder, 'own-adapter')), join(folder, 'own-out'));
    const merged = loadWeights(openCheckpoint(join(folder, 'own-out')));
    const tensor = (name: string) => adapter.tensors.get(`base_model.model.${name}`)!.data;
    const at = 'model.layers.0';
    expect(merged.get('lm_head.weight')!.data).toEqual(tensor('lm_head.modules_to_save.default.weight'));
    expect(merged.get(`${at}.input_layernorm.weight`)!.data).toEqual(
      tensor(`${at}.input_layernorm.modules_to_save.default.weight`),
    );
    expect(merged.get(`${at}.self_attn.q_proj.bias`)!.data).toEqual(
      tensor(`${at}.self_attn.q_proj.base_layer.bias`),
    );
    expect(merged.get(`${at}.self_attn.v_proj.bias`)!.data).toEqual(tensor(`${at}.self_attn.v_proj.bias`));
    const before = loadWeights(checkpoint);
    expect(merged.get(`${at}.mlp.up_proj.weight`)).toEqual(before.get(`${at}.mlp.up_proj.weight`));
    expect(merged.get(`${at}.self_attn.q_proj.weight`)).not.toEqual(
      before.get(`${at}.self_attn.q_proj.weight`),
    );
  });
});

describe('what cannot be exported is said, and leaves nothing behind', () => {
  test('a prefix, a folder that is taken, a missing weight, a checkpoint that ends early', async () => {
    const base = join(folder, 'refused');
    const { config } = randomModel(base, {}, random);
    const prefix = { numVirtualTokens: 2, prefixProjection: false, encoderHiddenSize: 0 };
    writePrefixAdapter(
      join(folder, 'prefix'),
      config,
      prefix,
      initialPrefix(config, prefix, random),
      'refused',
    );
    expect(() => openExportModel(base, join(folder, 'prefix'))).toThrow('P-Tuning v2');

    const taken = join(folder, 'taken');
    mkdirSync(taken);
    writeFileSync(join(taken, 'mine'), '');
    for (const write of [exportHuggingFace, exportOnnx]) {
      await expect(write(openExportModel(base), taken)).rejects.toThrow('not empty');
      await expect(write(openExportModel(base), join(taken, 'mine'))).rejects.toThrow('not a folder');
    }
    expect(readdirSync(taken)).toEqual(['mine']);

    const lacking = join(folder, 'lacking');
    cpSync(base, lacking, { recursive: true });
    const json = JSON.parse(readFileSync(join(lacking, 'config.json'), 'utf8'));
    writeFileSync(join(lacking, 'config.json'), JSON.stringify({ ...json, num_hidden_layers: 3 }));
    expect(() => openExportModel(lacking)).toThrow(CheckpointError);
    expect(() => openExportModel(lacking)).toThrow('no tensor model.layers.2.');

    const before = readdirSync(folder);
    const model = openExportModel(base);
    const last = [...model.weights].at(-1)!;
    model.weights.set(last[0], {
      ...last[1],
      read: () => {
        throw new CheckpointError('the file ends inside');
      },
    });
    for (const write of [exportHuggingFace, exportOnnx])
      await expect(write(model, join(folder, 'half-written'))).rejects.toThrow('the file ends inside');
    expect(existsSync(join(folder, 'half-written'))).toBe(false);
    expect(readdirSync(folder)).toEqual(before);
  });
});
