import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readClipAdapter } from '@landfall/graph/checkpoint/clip-adapter.ts';
import { openClip } from '@landfall/graph/checkpoint/vision.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSurfaces, writeTinyClip } from '../../../test/tiny-clip.ts';
import { bytes, run, stepsOf, taskIn } from '../../../test/training-run.ts';
import { outputFiles, writeOutput } from '../train/output.ts';
import type { AlignmentSpec, TrainingTask } from '../train/task.ts';
import { measureRetrieval } from './measure.ts';

let root: string;
beforeAll(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'landfall-align-'));
  writeTinyClip(path.join(root, 'model'));
  await writeSurfaces(path.join(root, 'data'), { metal: 16, casting: 16, fabric: 16, circuit: 4 }, 1);
  await writeSurfaces(path.join(root, 'held-out'), { metal: 6, casting: 6, fabric: 6, circuit: 6 }, 2);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const ALL: AlignmentSpec = {
  method: 'align',
  clip: { visionLayers: 'all', textLayers: 'all' },
  balanced: true,
  augmentation: 'repeated',
  keepSides: false,
};
const LORA: AlignmentSpec = {
  ...ALL,
  clip: {
    lora: {
      r: 4,
      loraAlpha: 8,
      targetModules: ['q_proj', 'v_proj'],
      useRslora: false,
      modulesToSave: ['visual_projection', 'text_projection'],
    },
  },
};

const task = (changes: Partial<TrainingTask> = {}) =>
  taskIn(root, {
    ...{ spec: ALL, learningRate: 2e-3, schedule: 'cosine', epochs: 2, batchSize: 13 },
    ...{ warmupSteps: 2, weightDecay: 0.1, maxLength: 32, seed: 5n },
    ...changes,
  });

const measure = (modelFolder: string) =>
  measureRetrieval({
    modelFolder,
    readerFolder: path.join(root, 'model'),
    datasetFolder: path.join(root, 'held-out'),
    weightCacheFolder: path.join(root, 'weights'),
    classTemplates: ['a surface of {label}'],
    threads: 1,
  });

describe('a run over pairs', () => {
  it('trains the scale of the logits within its bound, looks at held-out pairs, and is measured', async () => {
    const validation = {
      ...{ datasetFolder: path.join(root, 'held-out'), everySteps: 2, patience: 0, keepBest: false },
    };
    const settings = task({ validation, learningRate: 0.5, weightDecay: 0, epochs: 1 });
    const { events, result } = await run(settings);
    // 52 pairs: what does not fill a batch waits for another epoch.
    expect(stepsOf(events)).toHaveLength(4);
    expect(stepsOf(events).at(-1)!.rowsPerSecond).toBeGreaterThan(0);
    expect(events.filter(({ type }) => type === 'look')).toHaveLength(2);
    const scale = result.parameters.get('logit_scale')!.data[0]!;
    expect(scale).toBeLessThanOrEqual(Math.fround(Math.log(100)));
    expect(scale).not.toBe(Math.fround(Math.log(1 / 0.07)));
    const folder = path.join(root, 'aligned');
    writeOutput(folder, settings, result.parameters, 'base');
    const measured = (await measure(folder))!;
    expect(measured.rows).toBe(24);
    const { retrieval } = measured;
    expect(retrieval).toMatchObject({ images: 24, texts: 4, classes: 4, imageToTextRecallAt5: 1 });
    // A caption is what is asked for a class.
    expect(retrieval.zeroShotAccuracy).toBe(retrieval.imageToTextRecallAt1);
  });

  it.each([
    ['everything', ALL, 1],
    ['in parts', ALL, 2],
    ['an adapter', LORA, 1],
    ['the top layers', { ...ALL, clip: { visionLayers: 1, textLayers: 0 }, augmentation: 'all' as const }, 1],
  ] as const)('gives the same bits when it is stopped and resumed: %s', async (_, spec, parts) => {
    const changes = { spec, batchSize: 12 / parts, gradientAccumulationSteps: parts };
    const whole = await run(task(changes));
    const settings = task(changes);
    for (const stop of [4, 1]) expect((await run(settings, stop)).result.finished).toBe(false);
    const rest = await run(settings);
    expect(rest.result.finished).toBe(true);
    expect(bytes(rest.result.parameters)).toEqual(bytes(whole.result.parameters));
  });

  it('writes an adapter in peft’s layout beside the model that it is merged into', async () => {
    const settings = task({ spec: LORA, epochs: 1 });
    const { result } = await run(settings);
    const folder = path.join(root, 'adapted');
    writeOutput(folder, settings, result.parameters, 'models:/clip/1.0.0');
    expect(outputFiles(LORA)).toEqual([
      'config.json',
      'model.safetensors',
      'adapter/adapter_config.json',
      'adapter/adapter_model.safetensors',
    ]);
    const { config, tensors } = openClip(folder);
    expect([...tensors.keys()].sort()).toEqual([...openClip(settings.modelFolder).tensors.keys()].sort());
    expect(readClipAdapter(path.join(folder, 'adapter'), config).config.r).toBe(4);
  });
});
