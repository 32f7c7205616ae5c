import { patchCount } from '@landfall/graph/models/clip-config.ts';
import { projectorShapes, towerShapes, visionShapes } from '@landfall/graph/models/llava.ts';
import type { LlavaConfig } from '@landfall/graph/models/llava-config.ts';
import { type SightSpec, sightShapes } from '@landfall/graph/training/sight.ts';

/** What a run sees with. */
export interface SightPlan {
  config: LlavaConfig;
  spec: SightSpec;
  /** Mean images a row. */
  imagesPerRow: number;
}

/** What tower and projector add to a run. */
export interface SightEstimate {
  memoryBytes: number;
  seconds: number;
  trainable: number;
  total: number;
}

/** float32 values that a layer holds a position for its backward pass, as multiples of its widths. */
const [HIDDEN_COPIES, INTERMEDIATE_COPIES] = [8, 4];
/** Operations a second and thread, as in products of a decoder. */
const FLOPS_PER_THREAD = 60e9;
/** What a frozen tower makes of images is kept up to here. */
const KEPT_BYTES = 2 ** 30;
/** Parameter, gradient inside the runtime and outside, and AdamW's two moments. */
const STATE_BYTES = 20;

const sizeOf = (shapes: ReadonlyMap<string, readonly number[]>) =>
  [...shapes.values()].reduce((sum, shape) => sum + shape.reduce((product, n) => product * n, 1), 0);

/** A guide as `estimateRun` is one. A frozen tower sees each image once, one that trains in each epoch. */
export function estimateSight(
  { config, spec, imagesPerRow }: SightPlan,
  run: { rows: number; epochs: number; batchSize: number; threads: number },
): SightEstimate {
  const { vision, featureLayer } = config;
  const positions = patchCount(vision) + 1;
  const trainable = sizeOf(sightShapes(config, spec));
  const total = sizeOf(visionShapes(vision)) + sizeOf(projectorShapes(config));
  const layers = spec.towerLayers === 'all' ? featureLayer : spec.towerLayers;
  const shown = Math.ceil(run.batchSize * imagesPerRow) * positions;
  const layer =
    shown *
    (HIDDEN_COPIES * vision.hiddenSize +
      INTERMEDIATE_COPIES * vision.intermediateSize +
      vision.heads * positions);
  // Layers without a gradient give back what they computed.
  const held = (layers + Math.min(1, featureLayer - layers)) * layer;
  const images = run.rows * imagesPerRow;
  const kept =
    spec.towerLayers === 'all' ? 0 : Math.min(KEPT_BYTES, images * positions * vision.hiddenSize * 4);
  const pass = 2 * images * positions * sizeOf(towerShapes(config));
  const share = featureLayer === 0 ? 0 : layers / featureLayer;
  const passes = pass * (1 - share) + 3 * share * pass * run.epochs;
  return {
    memoryBytes: 4 * (total + held) + kept + STATE_BYTES * trainable,
    seconds: passes / (FLOPS_PER_THREAD * run.threads),
    trainable,
    total,
  };
}
