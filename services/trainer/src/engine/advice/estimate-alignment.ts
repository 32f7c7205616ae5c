import { type ClipConfig, patchCount, type TowerConfig } from '@landfall/graph/models/clip-config.ts';
import { type ClipSpec, clipShapes, clipTrainable } from '@landfall/graph/training/clip-spec.ts';
import type { Estimate, Smaller } from './estimate.ts';

/** What an alignment is planned with. */
export interface AlignmentPlan {
  config: ClipConfig;
  spec: ClipSpec;
  /** Pairs that go through the towers at once. */
  batchSize: number;
  /** Such parts of a step. */
  parts: number;
  epochs: number;
  rows: number;
  /** Mean tokens of a caption, and of the longest. */
  tokensPerRow: number;
  longestRow: number;
  threads: number;
}

/** Node, its libraries, onnxruntime and a tokenizer before any weight is loaded. */
const RUNTIME_BYTES = 260 * 1024 ** 2;
/** float32 values that a layer holds a position for its backward pass, as multiples of its widths. */
const [HIDDEN_COPIES, INTERMEDIATE_COPIES] = [8, 4];
/** Operations a second and thread in products of this size. */
const FLOPS_PER_THREAD = 60e9;
/** Parameter, gradient inside the runtime and outside, and AdamW's two moments. */
const STATE_BYTES = 20;

const sizeOf = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);
const sum = (shapes: Iterable<readonly number[]>) =>
  [...shapes].reduce((all, shape) => all + sizeOf(shape), 0);

/** A guide as `estimateRun` is one. */
export function estimateAlignment(plan: AlignmentPlan): Estimate {
  const { config, spec, batchSize } = plan;
  const { vision, text } = config;
  const trainable = clipTrainable(config, spec);
  const matrices = sum(
    [...trainable].filter(([name]) => /\.lora_[AB]\./.test(name)).map(([, shape]) => shape),
  );
  const total = sum(clipShapes(config).values()) + matrices;
  const trains = sum(trainable.values());
  const positions = patchCount(vision) + 1;
  const longest = Math.min(text.maxPositions, plan.longestRow);
  const towers = [
    { tower: vision, positions, mean: positions, depth: depthOf(spec, 'visionLayers', vision) },
    { tower: text, positions: longest, mean: plan.tokensPerRow, depth: depthOf(spec, 'textLayers', text) },
  ];
  let held = 0;
  let flops = 0;
  for (const { tower, positions, mean, depth } of towers) {
    const { hiddenSize, intermediateSize, heads, layers } = tower;
    const width = HIDDEN_COPIES * hiddenSize + INTERMEDIATE_COPIES * intermediateSize + heads * positions;
    // Layers without a gradient give back what they computed.
    held += (depth + Math.min(1, layers - depth)) * batchSize * positions * width;
    const layer = 4 * hiddenSize ** 2 + 2 * hiddenSize * intermediateSize;
    // Forward, the gradients of the inputs and of the weights that train; in parts forward once more.
    flops += 2 * layer * plan.rows * mean * (layers * (plan.parts > 1 ? 2 : 1) + 2 * depth);
  }
  return {
    memoryBytes: Math.ceil(RUNTIME_BYTES + 4 * (total + held) + STATE_BYTES * trains),
    seconds: (flops * plan.epochs) / (FLOPS_PER_THREAD * plan.threads),
    trainableParameters: trains,
    totalParameters: total,
  };
}

/** Layers that a gradient goes through. */
function depthOf(spec: ClipSpec, name: 'visionLayers' | 'textLayers', { layers }: TowerConfig): number {
  if ('lora' in spec) return layers;
  return spec[name] === 'all' ? layers : spec[name];
}

/** Changes that bring an alignment under a limit, the least costly first, each alone. */
export function whatFitsAlignment(plan: AlignmentPlan, limitBytes: number): Smaller[] {
  const ways: Smaller[] = [];
  const offer = (change: string, changed: AlignmentPlan) => {
    const { memoryBytes } = estimateAlignment(changed);
    if (memoryBytes <= limitBytes) ways.push({ change, memoryBytes });
    return memoryBytes <= limitBytes;
  };
  for (
    let [batchSize, parts] = [plan.batchSize >> 1, plan.parts * 2];
    batchSize >= 1;
    batchSize >>= 1, parts *= 2
  ) {
    const change = `batch_size ${batchSize} with gradient_accumulation_steps ${parts}`;
    if (offer(change, { ...plan, batchSize, parts })) break;
  }
  offer('METHOD_FROZEN with tower_layers and text_layers 0', {
    ...plan,
    spec: { visionLayers: 0, textLayers: 0 },
  });
  return ways;
}
