import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AutoModelForImageTextToText, env, Tensor } from '@huggingface/transformers';
import { afterAll, expect, test } from 'vitest';
import { casesWith, readCase } from '../../test/reference-cases.ts';
import { readFloat32, readSafetensorsHeader } from '../checkpoint/safetensors.ts';
import { openLlava } from '../checkpoint/vision.ts';
import { exportOnnxLlava } from './onnx-llava.ts';

const folder = mkdtempSync(join(tmpdir(), 'landfall-export-llava-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cases = casesWith('pixel_values.safetensors').filter(
  ([, path]) => readCase<{ model_type: string }>(path, 'config.json').model_type === 'llava',
);

test.each(cases)(
  '%s: transformers.js gives the reference tokens from what is exported',
  async (name, path) => {
    const out = join(folder, name.replaceAll(' ', '-'));
    const { files } = await exportOnnxLlava(openLlava(path), out);
    expect(files).toContain('onnx/decoder_model_merged.onnx');
    env.allowRemoteModels = false;
    const model = await AutoModelForImageTextToText.from_pretrained(out, { local_files_only: true });
    const file = join(path, 'pixel_values.safetensors');
    const [entry] = [...readSafetensorsHeader(file).tensors.values()];
    const { input_ids: ids, greedy } = readCase<{ input_ids: number[]; greedy: number[] }>(
      path,
      'expected_forward.json',
    );
    const int64 = (values: number[]) =>
      new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
    const answer = (await model.generate({
      input_ids: int64(ids),
      attention_mask: int64(ids.map(() => 1)),
      pixel_values: new Tensor('float32', readFloat32(file, entry!), [...entry!.shape]),
      max_new_tokens: greedy.length,
      do_sample: false,
      eos_token_id: null,
    } as never)) as Tensor;
    expect([...answer.data].slice(ids.length).map(Number)).toEqual(greedy);
    await model.dispose();
  },
);
