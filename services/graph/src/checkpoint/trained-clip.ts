import { clipOwnWeights, clipTargets } from '../training/clip-lora.ts';
import type { LoraConfig } from '../training/lora.ts';
import { addAdapter } from './merge.ts';
import { type NamedTensor, readFloat32, type TensorSource } from './safetensors.ts';
import type { ClipCheckpoint } from './vision.ts';

/**
 * The weights of a CLIP after training: those that trained in the place of the base's, an adapter merged into them. Each
 * is read when it is written.
 * @param parameters what trained, by the names of the training graph
 * @param lora of an adapter among them
 */
export function trainedClip(
  { config, tensors }: ClipCheckpoint,
  parameters: ReadonlyMap<string, NamedTensor>,
  lora?: LoraConfig,
): Map<string, TensorSource> {
  const targeted = lora ? clipTargets(config, lora) : new Map<string, [number, number]>();
  const names = new Map(lora ? [...clipOwnWeights(lora)].map(([own, name]) => [name, own]) : []);
  const sources = new Map<string, TensorSource>();
  for (const [name, entry] of tensors) {
    const module = name.replace(/\.weight$/, '');
    const size = module === name ? undefined : targeted.get(module);
    const read = () => {
      const data = parameters.get(names.get(name) ?? name)?.data ?? readFloat32(entry.file, entry);
      return lora && size
        ? addAdapter(data, { config: lora, tensors: new Map(parameters) }, module, size)
        : data;
    };
    sources.set(name, { shape: entry.shape, read });
  }
  return sources;
}
