import { selectRows } from '../autodiff/ops.ts';
import type { Tape, Tensor } from '../autodiff/tape.ts';
import { CheckpointError } from '../checkpoint/errors.ts';
import { type NamedTensor, readFloat32 } from '../checkpoint/safetensors.ts';
import type { LlavaCheckpoint } from '../checkpoint/vision.ts';
import { visionEmbeddings, visionLayers } from '../models/clip.ts';
import { patchCount } from '../models/clip-config.ts';
import { projector, projectorShapes, towerShapes } from '../models/llava.ts';
import type { LlavaConfig } from '../models/llava-config.ts';
import type { Value } from '../onnx/graph.ts';
import type { WeightSource } from '../onnx/weights.ts';

/** What trains of that which a LLaVA sees with; the rest stays as it is. */
export interface SightSpec {
  projector: boolean;
  /** Layers of the tower, counted from the highest that is read; `all` for its embeddings too. */
  towerLayers: number | 'all';
}

/** Names of trained tensors begin with these; behind them stands the name in the part. */
export const PROJECTOR = 'multi_modal_projector.';
export const TOWER = 'vision_tower.';

/** The layer whose output is the lowest that a gradient reaches; undefined where the tower trains as a whole. */
export function frozenLayers(config: LlavaConfig, { towerLayers }: SightSpec): number | undefined {
  return towerLayers === 'all' ? undefined : config.featureLayer - towerLayers;
}

/** Shapes of what trains, by name. @throws CheckpointError for more layers than are read */
export function sightShapes(config: LlavaConfig, spec: SightSpec): Map<string, number[]> {
  const lowest = frozenLayers(config, spec);
  if (lowest !== undefined && !(Number.isInteger(lowest) && lowest >= 0 && lowest <= config.featureLayer))
    throw new CheckpointError(
      `${spec.towerLayers} layers of the tower are to train; ${config.featureLayer} of it are read`,
    );
  const shapes = new Map<string, number[]>();
  if (spec.projector)
    for (const [name, shape] of projectorShapes(config)) shapes.set(`${PROJECTOR}${name}`, [...shape]);
  for (const [name, shape] of towerShapes(config)) {
    const layer = /^encoder\.layers\.(\d+)\./.exec(name)?.[1];
    if (lowest === undefined || (layer !== undefined && Number(layer) >= lowest))
      shapes.set(`${TOWER}${name}`, [...shape]);
  }
  return shapes;
}

/** The values that a checkpoint has for what trains. @param checkpoint stored as F32, F16 or BF16 */
export function sightParameters(checkpoint: LlavaCheckpoint, spec: SightSpec): Map<string, NamedTensor> {
  const stored = sightTensors(checkpoint).tensors;
  return new Map(
    [...sightShapes(checkpoint.config, spec)].map(([name, shape]) => {
      const entry = stored.get(name);
      if (!entry) throw new CheckpointError(`the checkpoint has no tensor ${name}`);
      return [name, { shape, data: readFloat32(entry.file, entry) }];
    }),
  );
}

/** Tower and projector under the names of what trains. */
export function sightTensors({ tower, projector }: Pick<LlavaCheckpoint, 'tower' | 'projector'>) {
  const named = (prefix: string, { tensors }: Pick<LlavaCheckpoint, 'projector'>['projector']) =>
    [...tensors].map(([name, entry]) => [`${prefix}${name}`, entry] as const);
  return { tensors: new Map([...named(TOWER, tower), ...named(PROJECTOR, projector)]) };
}

/**
 * Writes tower and projector down to the rows that stand in the place of image tokens. Takes `pixels`
 * [I, channels, imageSize, imageSize], or `tower_hidden` [I * (1 + patches), hiddenSize] where lower layers are frozen.
 * @param parameter a trained tensor, undefined for one that does not train
 * @param featureRows [R]: rows of the tower's output that the decoder reads, in the order of their tokens
 * @returns [R, hidden size of the decoder]
 */
export function sightRows(
  tape: Tape,
  config: LlavaConfig,
  spec: SightSpec,
  weights: WeightSource,
  parameter: (name: string) => Tensor | undefined,
  featureRows: Value,
): Tensor {
  const { graph } = tape;
  const { channels, imageSize, hiddenSize } = config.vision;
  const of = (prefix: string) => (name: string, shape: readonly number[]) =>
    parameter(`${prefix}${name}`) ?? tape.constant(weights.get(`${prefix}${name}`, shape));
  const lowest = frozenLayers(config, spec);
  const begin =
    lowest === undefined
      ? visionEmbeddings(
          tape,
          config.vision,
          graph.input('pixels', 'float32', ['I', channels, imageSize, imageSize]),
          of(TOWER),
        )
      : tape.constant(graph.input('tower_hidden', 'float32', ['H', hiddenSize]));
  const seen = visionLayers(tape, config.vision, begin, of(TOWER), lowest ?? 0, config.featureLayer);
  return projector(tape, config, selectRows(tape, seen, featureRows), of(PROJECTOR));
}

/** Rows of the tower's output that are read of `images` images, one image after the other. */
export function featureRows(config: LlavaConfig, images: number): BigInt64Array {
  const positions = patchCount(config.vision) + 1;
  const first = config.withClass ? 0 : 1;
  const each = positions - first;
  return BigInt64Array.from({ length: images * each }, (_, i) =>
    BigInt(Math.floor(i / each) * positions + first + (i % each)),
  );
}
