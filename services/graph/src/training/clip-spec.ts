import { CheckpointError } from '../checkpoint/errors.ts';
import { type NamedTensor, readFloat32 } from '../checkpoint/safetensors.ts';
import type { ClipCheckpoint } from '../checkpoint/vision.ts';
import type { ClipConfig } from '../models/clip-config.ts';
import { imageEmbeddings, textEmbeddings } from '../models/clip-embeddings.ts';
import { weightsOf } from '../models/weights-of.ts';
import { clipLoraShapes, initialClipLora } from './clip-lora.ts';
import { MAX_LOGIT_SCALE } from './contrastive-loss.ts';
import type { LoraConfig } from './lora.ts';

/** What of a CLIP trains, always with the scale of its logits. */
export type ClipSpec = ClipLayers | ClipAdapter;

/** The two projections, and the towers' own weights from the top down. */
export interface ClipLayers {
  /** Layers of the image tower, counted from the top, with its last norm; `all` for its embeddings too. */
  visionLayers: number | 'all';
  /** The same of the text tower. */
  textLayers: number | 'all';
}

/** Low-rank matrices beside the linear layers of both towers; `modulesToSave` may name the projections. */
export interface ClipAdapter {
  lora: LoraConfig;
}

export const LOGIT_SCALE = 'logit_scale';

/** Shapes of all weights of a CLIP model that embeddings are computed with. */
export function clipShapes(config: ClipConfig): Map<string, readonly number[]> {
  const inputs = Object.fromEntries(
    ['ids', 'positions', 'shape', 'mask', 'ends'].map((name) => [name, { name }]),
  ) as Parameters<typeof textEmbeddings>[2];
  const shapes = weightsOf((tape, weight) => {
    imageEmbeddings(tape, config, { name: 'pixels' }, weight);
    textEmbeddings(tape, config, inputs, weight);
  });
  return shapes.set(LOGIT_SCALE, []);
}

/** Shapes of what trains, by name. @throws CheckpointError for more layers than a tower has, or an unknown module */
export function clipTrainable(config: ClipConfig, spec: ClipSpec): Map<string, number[]> {
  if ('lora' in spec) return clipLoraShapes(config, spec.lora).set(LOGIT_SCALE, []);
  const { vision, text } = config;
  const towers = [
    { prefix: 'vision_model.', top: 'post_layernorm', layers: vision.layers, train: spec.visionLayers },
    { prefix: 'text_model.', top: 'final_layer_norm', layers: text.layers, train: spec.textLayers },
  ];
  for (const { prefix, layers, train } of towers)
    if (train !== 'all' && !(Number.isInteger(train) && train >= 0 && train <= layers))
      throw new CheckpointError(`${train} layers of ${prefix.slice(0, -1)} are to train; it has ${layers}`);
  const trains = (name: string) => {
    const tower = towers.find(({ prefix }) => name.startsWith(prefix));
    if (!tower || tower.train === 'all') return true;
    const layer = /encoder\.layers\.(\d+)\./.exec(name)?.[1];
    if (layer !== undefined) return Number(layer) >= tower.layers - tower.train;
    return tower.train > 0 && name.startsWith(`${tower.prefix}${tower.top}`);
  };
  return new Map(
    [...clipShapes(config)].filter(([name]) => trains(name)).map(([name, shape]) => [name, [...shape]]),
  );
}

/**
 * What trains, as a run begins with it: the checkpoint's own values, or a fresh adapter.
 * @param random uniform in [0, 1); decides an adapter's first matrices
 * @throws CheckpointError for a tensor that is missing
 */
export function clipParameters(
  checkpoint: ClipCheckpoint,
  spec: ClipSpec,
  random: () => number = Math.random,
): Map<string, NamedTensor> {
  const { config, tensors } = checkpoint;
  const weight = (name: string) => {
    const entry = tensors.get(name);
    if (!entry) throw new CheckpointError(`the checkpoint has no tensor ${name}`);
    return readFloat32(entry.file, entry);
  };
  if ('lora' in spec) {
    const adapter = initialClipLora(config, spec.lora, random, weight);
    return adapter.set(LOGIT_SCALE, { shape: [], data: weight(LOGIT_SCALE) });
  }
  return new Map(
    [...clipTrainable(config, spec)].map(([name, shape]) => [name, { shape, data: weight(name) }]),
  );
}

/** Keeps the scale of the logits within its bound; after each step of an optimiser. */
export function boundLogitScale(parameters: ReadonlyMap<string, NamedTensor>): void {
  const { data } = parameters.get(LOGIT_SCALE)!;
  data[0] = Math.min(MAX_LOGIT_SCALE, Math.max(0, data[0]!));
}
