import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readLoraAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { readSafetensorsHeader } from '@landfall/graph/checkpoint/safetensors.ts';
import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeStripes } from '../../../test/stripes.ts';
import { writeTinyLlava, writeTinyModel } from '../../../test/tiny-model.ts';
import { bytes, LORA, run, taskIn } from '../../../test/training-run.ts';
import { LAST_FILE, OUTPUT_FILES, outputKind } from './output.ts';
import { prepareData } from './prepare.ts';
import type { TrainingTask } from './task.ts';
import { runInThread } from './thread.ts';

let root: string;
beforeAll(async () => {
  root = mkdtempSync(path.join(tmpdir(), 'landfall-train-images-'));
  writeTinyLlava(path.join(root, 'model'));
  writeTinyModel(path.join(root, 'text'));
  await writeStripes(path.join(root, 'data'), 24, 1n);
  await writeStripes(path.join(root, 'held-out'), 12, 2n);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

const task = (changes: Partial<TrainingTask> = {}) =>
  taskIn(root, {
    ...{ spec: { method: 'lora', lora: LORA }, sight: { projector: false, towerLayers: 0 } },
    ...{ learningRate: 1e-2, epochs: 4, batchSize: 6, maxLength: 128, templates: ['chat'] },
    ...changes,
  });

describe('runs over rows with images', () => {
  it('puts an image where its row says, a token for each patch, loss on the answer alone', async () => {
    const settings = task();
    const { rows, report } = await prepareData(settings);
    expect(report.issues).toEqual([]);
    expect(rows).toHaveLength(24);
    const [{ inputIds, labels, images }] = rows[0] as [(typeof rows)[0][0]];
    const { imageToken } = openLlava(settings.modelFolder).config;
    expect(inputIds.filter((id) => id === imageToken)).toHaveLength(4);
    expect(labels.some((label) => label === imageToken)).toBe(false);
    expect(images).toMatchObject([
      { path: 'images/0.png', file: path.join(root, 'data', 'images', '0.png') },
    ]);
  });

  it('learns from what images show: the loss falls on rows that were not trained on', async () => {
    const validation = {
      datasetFolder: path.join(root, 'held-out'),
      everySteps: 0,
      patience: 0,
      keepBest: true,
    };
    const sight = { projector: true, towerLayers: 'all' } as const;
    const { events, result } = await run(
      task({ spec: { method: 'full' }, sight, epochs: 20, learningRate: 5e-3, validation }),
    );
    const looks = events.filter((event) => event.type === 'look');
    // An answer is one of two words: who does not see can't come below a bit for it.
    const letters = Buffer.byteLength('across') + 1;
    expect(looks.at(-1)!.loss).toBeLessThan((0.5 * Math.LN2) / letters);
    expect(result.parameters.has('vision_tower.embeddings.patch_embedding.weight')).toBe(true);
  });

  it.each([
    { projector: false, towerLayers: 0 },
    { projector: true, towerLayers: 1 },
    { projector: true, towerLayers: 'all' },
  ] as const)('gives the same bits when it is stopped and resumed: %j', async (sight) => {
    const whole = await run(task({ sight }));
    const settings = task({ sight });
    for (const stop of [4, 1, 5]) expect((await run(settings, stop)).result.finished).toBe(false);
    const rest = await run(settings);
    expect(rest.result.finished).toBe(true);
    expect(bytes(rest.result.parameters)).toEqual(bytes(whole.result.parameters));
  });

  it('writes an adapter of the decoder, or a whole model where what it sees with has trained', async () => {
    for (const sight of [
      { projector: false, towerLayers: 0 },
      { projector: true, towerLayers: 1 },
    ] as const) {
      const settings = task({ sight, epochs: 1 });
      const outputFolder = path.join(root, `output-${sight.towerLayers}`);
      const end = await runInThread({ task: settings, outputFolder, baseName: 'base', onEvent: () => {} });
      expect(end.finished).toBe(true);
      const kind = outputKind(settings.spec, sight);
      expect(kind).toBe(sight.projector ? 'model' : 'adapter');
      expect(OUTPUT_FILES[kind]).toContain(LAST_FILE[kind]);
      if (kind === 'adapter') {
        const { config } = openLlava(settings.modelFolder);
        expect(readLoraAdapter(outputFolder, config.language).tensors.size).toBe(28);
        const { tensors } = readSafetensorsHeader(path.join(outputFolder, 'adapter_model.safetensors'));
        expect([...tensors.keys()].every((name) => name.includes('.model.language_model.layers.'))).toBe(
          true,
        );
      } else {
        const [was, is] = [settings.modelFolder, outputFolder].map(openLlava);
        expect([...is!.tower.tensors.keys()].sort()).toEqual([...was!.tower.tensors.keys()].sort());
        const changed = (name: string) => {
          const [before, after] = [was!, is!].map(({ tower }) => {
            const { file, offset, byteLength } = tower.tensors.get(name)!;
            return readFileSync(file).subarray(offset, offset + byteLength);
          });
          return !before!.equals(after!);
        };
        expect(changed('encoder.layers.1.mlp.fc1.weight')).toBe(true);
        expect(changed('encoder.layers.0.mlp.fc1.weight')).toBe(false);
      }
    }
  });

  it('names rows whose images are missing, broken, or elsewhere, and a model that reads text alone', async () => {
    const folder = path.join(root, 'broken');
    cpSync(path.join(root, 'data', 'images'), path.join(folder, 'images'), { recursive: true });
    mkdirSync(folder, { recursive: true });
    writeFileSync(
      path.join(folder, 'images', 'torn.png'),
      readFileSync(path.join(folder, 'images', '0.png')).subarray(0, 60),
    );
    const row = (image: unknown, content = '<image>\nwhich?') => ({
      image,
      messages: [
        { role: 'user', content },
        { role: 'assistant', content: 'across' },
      ],
    });
    const rows = [
      row('images/0.png'),
      row('images/none.png'),
      row('../data/images/0.png'),
      row('images/torn.png'),
      row('images/1.png', 'which?'),
      row('images/1.png', '<image> and <image>'),
      row(7),
      row('images/1.png'),
    ];
    writeFileSync(path.join(folder, 'rows.jsonl'), rows.map((one) => JSON.stringify(one)).join('\n'));
    const { rows: kept, report } = await prepareData(task({ datasetFolder: folder }));
    expect(kept).toHaveLength(2);
    expect(report.issues.map(({ row, code }) => `${row} ${code}`).sort()).toEqual([
      '2 missing_image',
      '3 image_path',
      '4 broken_image',
      '5 image_places',
      '6 image_places',
      '7 image_path',
    ]);
    await expect(prepareData(task({ modelFolder: path.join(root, 'text') }))).rejects.toThrow(
      'row 1 shows an image, and the model reads text alone',
    );
  });
});
