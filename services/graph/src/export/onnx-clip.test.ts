import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CLIPTextModelWithProjection,
  CLIPVisionModelWithProjection,
  env,
  Tensor,
} from '@huggingface/transformers';
import { afterAll, expect, test } from 'vitest';
import { casesWith, readCase } from '../../test/reference-cases.ts';
import { readFloat32, readSafetensorsHeader } from '../checkpoint/safetensors.ts';
import { openClip } from '../checkpoint/vision.ts';
import { exportOnnxClip } from './onnx-clip.ts';

const folder = mkdtempSync(join(tmpdir(), 'landfall-export-clip-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cases = casesWith('pixel_values.safetensors').filter(
  ([, path]) => readCase<{ model_type: string }>(path, 'config.json').model_type === 'clip',
);

interface Expected {
  input_ids: number[][];
  text_embeds: number[][];
  image_embeds: number[][];
}

test.each(cases)(
  '%s: transformers.js gives the reference embeddings from what is exported',
  async (name, path) => {
    const out = join(folder, name.replaceAll(' ', '-'));
    await exportOnnxClip(openClip(path), out);
    env.allowRemoteModels = false;
    const local = { local_files_only: true };
    const images = await CLIPVisionModelWithProjection.from_pretrained(out, local);
    const texts = await CLIPTextModelWithProjection.from_pretrained(out, local);
    const expected = readCase<Expected>(path, 'expected_forward.json');
    const file = join(path, 'pixel_values.safetensors');
    const [entry] = [...readSafetensorsHeader(file).tensors.values()];
    const pixels = new Tensor('float32', readFloat32(file, entry!), [...entry!.shape]);
    const ids = expected.input_ids;
    const tokens = new Tensor('int64', BigInt64Array.from(ids.flat(), BigInt), [ids.length, ids[0]!.length]);
    const { image_embeds } = (await images({ pixel_values: pixels })) as { image_embeds: Tensor };
    const { text_embeds } = (await texts({ input_ids: tokens })) as { text_embeds: Tensor };
    for (const [got, wanted] of [
      [image_embeds, expected.image_embeds.flat()],
      [text_embeds, expected.text_embeds.flat()],
    ] as const) {
      expect(got.data).toHaveLength(wanted.length);
      for (const [i, value] of wanted.entries()) expect(Number(got.data[i])).toBeCloseTo(value, 4);
    }
    await images.dispose();
    await texts.dispose();
  },
);
