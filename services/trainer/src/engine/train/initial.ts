import type { Checkpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import { readAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { type NamedTensor, readFloat32 } from '@landfall/graph/checkpoint/safetensors.ts';
import { initialLora } from '@landfall/graph/training/lora.ts';
import { type TrainableSpec, trainableShapes } from '@landfall/graph/training/methods.ts';
import { initialPrefix, prefixFromEmbeddings } from '@landfall/graph/training/prefix.ts';
import { type SightSpec, sightParameters } from '@landfall/graph/training/sight.ts';
import type { Random } from '@landfall/metrics/random.ts';
import type { Base } from './base.ts';

/**
 * What trains, as a run begins with it: the base's own weights, a fresh adapter, or the adapter that an earlier run
 * has left; and what trains of tower and projector.
 *
 * @param adapterFolder of the earlier adapter
 * @throws CheckpointError for an adapter of another shape
 */
export function initialParameters(
  { language, llava }: Base,
  spec: TrainableSpec,
  random: Random,
  sight?: SightSpec,
  adapterFolder?: string,
): Map<string, NamedTensor> {
  const parameters = ofDecoder(language, spec, random, adapterFolder);
  return llava && sight ? new Map([...parameters, ...sightParameters(llava, sight)]) : parameters;
}

function ofDecoder(
  checkpoint: Checkpoint,
  spec: TrainableSpec,
  random: Random,
  adapterFolder: string | undefined,
): Map<string, NamedTensor> {
  const { config } = checkpoint;
  const weight = (name: string) => {
    const entry = checkpoint.tensors.get(name);
    if (!entry) throw new CheckpointError(`tensor ${name} is missing`);
    return readFloat32(entry.file, entry);
  };
  const shapes = trainableShapes(config, spec);
  if (adapterFolder) return continued(checkpoint, spec, shapes, adapterFolder);
  switch (spec.method) {
    case 'lora':
    case 'qlora':
      return initialLora(config, spec.lora, random, weight);
    case 'ptuning_v2':
      return initialPrefix(config, spec.prefix, random);
    default:
      return new Map([...shapes].map(([name, shape]) => [name, { shape, data: weight(name) }]));
  }
}

function continued(
  { config }: Checkpoint,
  spec: TrainableSpec,
  shapes: ReadonlyMap<string, number[]>,
  folder: string,
): Map<string, NamedTensor> {
  const adapter = readAdapter(folder, config);
  const tensors =
    adapter.kind === 'lora'
      ? adapter.tensors
      : prefixFromEmbeddings(config, adapter.numVirtualTokens, adapter.embeddings);
  for (const [name, shape] of shapes) {
    const found = tensors.get(name)?.shape;
    if (found?.join() !== shape.join()) {
      throw new CheckpointError(
        `the earlier adapter does not fit ${spec.method} with these settings: ${name} is ` +
          `${found ? `[${found}]` : 'missing'}, and [${shape}] is asked for`,
      );
    }
  }
  return new Map([...shapes.keys()].map((name) => [name, tensors.get(name)!]));
}
