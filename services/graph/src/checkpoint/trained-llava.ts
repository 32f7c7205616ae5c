import { PROJECTOR, TOWER } from '../training/sight.ts';
import type { Checkpoint, Stored } from './checkpoint.ts';
import { loraMerger } from './merge.ts';
import type { LoraAdapter } from './peft.ts';
import { type NamedTensor, readFloat32, type TensorSource } from './safetensors.ts';
import type { LlavaCheckpoint } from './vision.ts';

/**
 * The weights of a LLaVA after training, under the names of its own folder: those that trained in the place of the
 * base's, an adapter merged into the decoder. Each is read when it is written.
 * @param checkpoint as `openLlava` gives it, of whatever type
 * @param parameters what trained, by the names of the training graph; an adapter's tensors are not looked at
 */
export function trainedLlava(
  { language, tower, projector }: LlavaCheckpoint,
  parameters: ReadonlyMap<string, NamedTensor>,
  adapter?: LoraAdapter,
): Map<string, TensorSource> {
  return new Map([
    ...trainedDecoder(language, parameters, adapter),
    ...sourcesOf(tower, (name, read) => parameters.get(`${TOWER}${name}`)?.data ?? read()),
    ...sourcesOf(projector, (name, read) => parameters.get(`${PROJECTOR}${name}`)?.data ?? read()),
  ]);
}

/** The same of a decoder alone. */
export function trainedDecoder(
  checkpoint: Checkpoint,
  parameters: ReadonlyMap<string, NamedTensor>,
  adapter?: LoraAdapter,
): Map<string, TensorSource> {
  const merge = adapter && loraMerger(checkpoint.config, adapter);
  return sourcesOf(checkpoint, (name, read) => {
    const data = parameters.get(name)?.data ?? read();
    return merge ? merge(name, data) : data;
  });
}

function sourcesOf(
  { tensors }: Stored,
  valuesOf: (name: string, read: () => Float32Array) => Float32Array,
): Map<string, TensorSource> {
  const sources = new Map<string, TensorSource>();
  for (const [name, entry] of tensors) {
    const read = () => valuesOf(name, () => readFloat32(entry.file, entry));
    sources.set(entry.name, { shape: entry.shape, read });
  }
  return sources;
}
