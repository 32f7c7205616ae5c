import { expect } from 'vitest';
import { initialClipWeights } from '../src/checkpoint/initial-clip.ts';
import type { NamedTensor } from '../src/checkpoint/safetensors.ts';
import { type ClipCheckpoint, openClip } from '../src/checkpoint/vision.ts';
import { writeModel } from '../src/checkpoint/write-model.ts';
import type { ClipSpec } from '../src/training/clip-spec.ts';
import { ClipTrainingGraph, type ImageTextPair } from '../src/training/clip-trainer.ts';
import { expectSlope } from './slope.ts';

const tower = { hidden_size: 16, intermediate_size: 24, num_hidden_layers: 2, num_attention_heads: 2 };
export const CLIP_CONFIG = {
  model_type: 'clip',
  projection_dim: 8,
  text_config: { ...tower, vocab_size: 40, max_position_embeddings: 8, eos_token_id: 39 },
  vision_config: { ...tower, image_size: 8, patch_size: 4, num_channels: 1 },
};

/** A CLIP of two layers a tower; norms and biases are no ones and zeros. */
export function writeRandomClip(folder: string, random: () => number): ClipCheckpoint {
  const weights = initialClipWeights(CLIP_CONFIG, random);
  for (const { shape, data } of weights.values())
    if (shape.length === 1) for (let i = 0; i < data.length; i++) data[i]! += 0.4 * (random() - 0.5);
  writeModel(folder, CLIP_CONFIG, weights);
  return openClip(folder);
}

export const noisePixels = (length: number, random: () => number) =>
  Float32Array.from({ length }, () => 2 * random() - 1);

export const pairWith = (pixels: Float32Array, ids: number[], random: () => number): ImageTextPair => ({
  image: { key: String(random()), pixels: () => pixels },
  ids,
});

/** Six pairs: a text twice, an image twice, two of one class. */
export function batchOf(random: () => number): ImageTextPair[] {
  const texts = [
    [5, 6, 39],
    [7, 39],
    [5, 6, 39],
    [8, 9, 10, 39],
    [11, 39],
    [12, 13, 39],
  ];
  const pairs = texts.map((ids) => pairWith(noisePixels(64, random), ids, random));
  pairs[4] = { ...pairs[4]!, image: pairs[3]!.image };
  for (const i of [1, 5]) pairs[i] = { ...pairs[i]!, label: 'stain' };
  return pairs;
}

/** Holds each gradient of a batch against the difference of the loss along it. */
export async function expectGradients(
  checkpoint: ClipCheckpoint,
  spec: ClipSpec,
  parameters: Map<string, NamedTensor>,
  batch: readonly ImageTextPair[],
): Promise<void> {
  const graph = await ClipTrainingGraph.create(checkpoint, spec, { threads: 1 });
  const { gradients, loss } = await graph.step(batch, parameters);
  expect([...gradients.keys()]).toEqual([...parameters.keys()]);
  expect(loss).toBeGreaterThan(0);
  for (const [name, { data }] of parameters) {
    const gradient = gradients.get(name)!;
    // A bias of all keys moves every score of a query alike, which softmax does not see.
    if (/k_proj\.bias$/.test(name)) expect(Math.hypot(...gradient), name).toBeLessThan(1e-4);
    else await expectSlope(name, data, gradient, async () => (await graph.step(batch, parameters)).loss);
  }
  await graph.release();
}
