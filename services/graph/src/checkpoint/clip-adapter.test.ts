import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { generator, testSeed } from '../../test/random.ts';
import { batchOf, CLIP_CONFIG, noisePixels, writeRandomClip } from '../../test/random-clip.ts';
import { CLIP_PROJECTIONS } from '../training/clip-lora.ts';
import { type ClipSpec, clipParameters, LOGIT_SCALE } from '../training/clip-spec.ts';
import { ClipTrainingGraph } from '../training/clip-trainer.ts';
import { readClipAdapter, writeClipAdapter } from './clip-adapter.ts';
import { type NamedTensor, readSafetensorsHeader } from './safetensors.ts';
import { trainedClip } from './trained-clip.ts';
import { type ClipCheckpoint, openClip } from './vision.ts';
import { writeModel } from './write-model.ts';

const random = generator(testSeed('adapters of a CLIP'));
const folder = mkdtempSync(join(tmpdir(), 'landfall-clip-adapter-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LORA = {
  r: 3,
  loraAlpha: 6,
  targetModules: ['q_proj', 'v_proj', 'text_model.encoder.layers.1.mlp.fc1'],
  useRslora: true,
  modulesToSave: [...CLIP_PROJECTIONS],
};

/** An adapter that changes something: what begins with zeros has been moved. */
function moved(checkpoint: ClipCheckpoint): Map<string, NamedTensor> {
  const parameters = clipParameters(checkpoint, { lora: LORA }, random);
  for (const { data } of parameters.values())
    for (const [i, change] of noisePixels(data.length, random).entries()) data[i]! += 0.1 * change;
  return parameters;
}

async function lossOf(checkpoint: ClipCheckpoint, spec: ClipSpec, parameters: Map<string, NamedTensor>) {
  const graph = await ClipTrainingGraph.create(checkpoint, spec, { threads: 1 });
  const loss = await graph.loss(BATCH, parameters);
  await graph.release();
  return loss;
}
const BATCH = batchOf(random);

test('an adapter merged into its CLIP is the CLIP that trained', async () => {
  const base = writeRandomClip(join(folder, 'base'), random);
  const parameters = moved(base);
  const sources = [...trainedClip(base, parameters, LORA)].map(
    ([name, { shape, read }]) =>
      [name, { shape: [...shape], data: read() as Float32Array }] satisfies [string, NamedTensor],
  );
  writeModel(join(folder, 'merged'), CLIP_CONFIG, new Map(sources));
  const merged = openClip(join(folder, 'merged'));
  const none: ClipSpec = { visionLayers: 0, textLayers: 0 };
  const trained = await lossOf(base, { lora: LORA }, parameters);
  expect(await lossOf(merged, none, clipParameters(merged, none))).toBeCloseTo(trained, 4);
  expect(await lossOf(base, none, clipParameters(base, none))).not.toBeCloseTo(trained, 4);
});

test('an adapter is written as peft does for CLIPModel, and read as it was written', () => {
  const base = writeRandomClip(join(folder, 'base-2'), random);
  const parameters = moved(base);
  const written = join(folder, 'adapter');
  writeClipAdapter(written, base.config, { config: LORA, tensors: parameters }, 'models:/clip/1.0.0');
  const { tensors } = readSafetensorsHeader(join(written, 'adapter_model.safetensors'));
  const names = [...tensors.keys()];
  // Two ends in two layers of two towers, one module named whole, two projections.
  expect(names).toHaveLength(2 * (2 * 2 * 2 + 1) + 2);
  expect(names).toContain('base_model.model.vision_model.encoder.layers.0.self_attn.q_proj.lora_A.weight');
  expect(names).toContain('base_model.model.visual_projection.weight');
  const config = JSON.parse(readFileSync(join(written, 'adapter_config.json'), 'utf8'));
  expect(config).toMatchObject({
    ...{ base_model_name_or_path: 'models:/clip/1.0.0', peft_type: 'LORA', r: 3, use_rslora: true },
    ...{ target_modules: LORA.targetModules, modules_to_save: [...CLIP_PROJECTIONS] },
    task_type: 'FEATURE_EXTRACTION',
  });
  const read = readClipAdapter(written, base.config);
  expect(read.config).toMatchObject(LORA);
  expect([...read.tensors.keys()].sort()).toEqual(
    [...parameters.keys()].filter((name) => name !== LOGIT_SCALE).sort(),
  );
  for (const [name, { data }] of read.tensors) expect(data, name).toEqual(parameters.get(name)!.data);
});

test('modules that are not there, or do not train beside an adapter, are refused by name', () => {
  const base = writeRandomClip(join(folder, 'base-3'), random);
  const refuse = (changes: object) => () => clipParameters(base, { lora: { ...LORA, ...changes } }, random);
  expect(refuse({ targetModules: ['o_proj'] })).toThrow(
    'target module o_proj is not in the model; its linear modules end in q_proj, k_proj, v_proj, out_proj, fc1, fc2',
  );
  expect(refuse({ modulesToSave: ['text_model'] })).toThrow('modules_to_save: text_model of a CLIP');
  expect(refuse({ bias: 'all' })).toThrow('bias');
});
