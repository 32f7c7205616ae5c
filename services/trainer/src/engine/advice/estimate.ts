import type { ModelConfig } from '@landfall/graph/models/config.ts';
import { linearModules } from '@landfall/graph/models/transformer.ts';
import { parameterCounts, type TrainableSpec } from '@landfall/graph/training/methods.ts';
import { isLong } from '@landfall/graph/training/packed-attention.ts';
import { estimateSight, type SightPlan } from './estimate-sight.ts';

/** What a run is planned with. */
export interface RunPlan {
  spec: TrainableSpec;
  batchSize: number;
  epochs: number;
  rows: number;
  /** Mean tokens a row, prompt and answer. */
  tokensPerRow: number;
  /** Tokens of the longest row; the mean where absent. */
  longestRow?: number;
  /** Layers are computed again in the backward pass; QLoRA always does. */
  checkpointing?: boolean;
  /** Threads of one operation. */
  threads: number;
  /** Of a model that reads images. */
  sight?: SightPlan;
}

/** What a run will take. */
export interface Estimate {
  /** Peak resident memory in bytes. */
  memoryBytes: number;
  /** Training alone, in seconds. */
  seconds: number;
  trainableParameters: number;
  totalParameters: number;
}

/** Node, its libraries, onnxruntime and a tokenizer before any weight is loaded. */
const RUNTIME_BYTES = 260 * 1024 ** 2;
/** float32 values that a layer holds a token for its backward pass, as multiples of its widths. */
const HIDDEN_COPIES = 8;
const INTERMEDIATE_COPIES = 4;
/** NF4: half a byte a weight, and a maximum in 8 bits for 64 of them. */
const NF4_BYTES = 0.5 + 1 / 64;
/** Rows of logits that are made at once where the head is frozen. */
const LOGIT_ROWS = 128;
/** Operations a second and thread in products of this size; a step's time was seen to vary by a factor of two. */
const FLOPS_PER_THREAD = 60e9;
/** What a step costs whatever its size. */
const STEP_OVERHEAD_SECONDS = 0.004;
/** AdamW in JavaScript over what trains. */
const SECONDS_PER_PARAMETER = 10e-9;

/** Estimates a run from the model's shape; a guide to whether it fits and is worth waiting for. */
export function estimateRun(config: ModelConfig, plan: RunPlan): Estimate {
  const { spec, batchSize, tokensPerRow } = plan;
  const { trainable, total } = parameterCounts(config, spec);
  const { hiddenSize, intermediateSize, layers, heads, vocabSize } = config;
  const longest = plan.longestRow ?? tokensPerRow;
  const tokens = batchSize * longest;

  // Values held for the backward pass, which reaches down to the lowest layer that trains.
  const depth = spec.method === 'frozen' ? spec.frozen.trainableLayers : layers;
  const again = plan.checkpointing || spec.method === 'qlora';
  const layer = tokens * (HIDDEN_COPIES * hiddenSize + INTERMEDIATE_COPIES * intermediateSize);
  const probabilities = tokens * heads * longest;
  // Those of long rows are computed again, a part of a layer's at a time, with their gradients beside them.
  const kept = (isLong(longest) ? Math.min(depth, 4) : depth) * probabilities;
  const held = again ? depth * tokens * hiddenSize + 2 * (layer + probabilities) : depth * layer + kept;
  const headTrains = spec.method === 'full' || (spec.method === 'frozen' && spec.frozen.head);
  // Where the head trains all logits are kept, with their probabilities and gradients; about half of the tokens are
  // answers.
  const logits = vocabSize * (headTrains ? (tokens / 2) * 3 : Math.max(LOGIT_ROWS, tokens / 16) * 2);
  const linear = [...linearModules(config).values()].reduce(
    (sum, [outputs, inputs]) => sum + outputs * inputs,
    0,
  );
  const stored = weightsOf(config);
  const weights = spec.method === 'qlora' ? 4 * (stored - linear) + NF4_BYTES * linear : 4 * stored;
  // Parameter, gradient (inside the runtime and outside), and AdamW's two moments. A full run's parameters are the weights.
  const state = trainable * (spec.method === 'full' ? 16 : 20);
  const memoryBytes = RUNTIME_BYTES + weights + 4 * (held + logits) + state;

  const meanTokens = batchSize * tokensPerRow;
  const share = depth / layers;
  const head = hiddenSize * vocabSize;
  // Forward, the gradients of the inputs, those of the weights that train; and the layers once more.
  const passes =
    2 * (1 + share + (again ? share : 0)) * linear * meanTokens + 2 * 2 * head * (meanTokens / 2);
  const stepFlops = passes + 2 * trainable * meanTokens;
  const stepSeconds =
    stepFlops / (FLOPS_PER_THREAD * plan.threads) + STEP_OVERHEAD_SECONDS + trainable * SECONDS_PER_PARAMETER;
  const seen = plan.sight && estimateSight(plan.sight, plan);
  return {
    memoryBytes: Math.ceil(memoryBytes + (seen?.memoryBytes ?? 0)),
    seconds: Math.ceil(plan.rows / batchSize) * plan.epochs * stepSeconds + (seen?.seconds ?? 0),
    trainableParameters: trainable + (seen?.trainable ?? 0),
    totalParameters: total + (seen?.total ?? 0),
  };
}

/** All parameters of a model, tied weights once. */
export function weightsOf(config: ModelConfig): number {
  return parameterCounts(config, { method: 'full' }).total;
}

/** A way to make a run smaller, and what it then takes. */
export interface Smaller {
  /** For people: `batch_size 4`. */
  change: string;
  memoryBytes: number;
}

/** Changes that bring a run under a limit, the least costly first, each alone. */
export function whatFits(config: ModelConfig, plan: RunPlan, limitBytes: number): Smaller[] {
  const ways: Smaller[] = [];
  const offer = (change: string, changed: RunPlan) => {
    const { memoryBytes } = estimateRun(config, changed);
    if (memoryBytes <= limitBytes) ways.push({ change, memoryBytes });
    return memoryBytes <= limitBytes;
  };
  if (!plan.checkpointing && plan.spec.method !== 'qlora')
    offer('gradient_checkpointing', { ...plan, checkpointing: true });
  for (let batchSize = plan.batchSize >> 1; batchSize >= 1; batchSize >>= 1) {
    if (offer(`batch_size ${batchSize}`, { ...plan, batchSize })) break;
  }
  const longest = plan.longestRow ?? plan.tokensPerRow;
  for (let length = longest >> 1; length >= 32; length >>= 1) {
    const tokensPerRow = Math.min(plan.tokensPerRow, length);
    if (offer(`max_length ${length}`, { ...plan, longestRow: length, tokensPerRow })) break;
  }
  const lora = { r: 8, loraAlpha: 16, targetModules: ['q_proj', 'v_proj'], useRslora: false };
  if (plan.spec.method === 'full' || plan.spec.method === 'frozen')
    offer('METHOD_LORA', { ...plan, spec: { method: 'lora', lora } });
  if (plan.spec.method !== 'qlora') {
    const spec = { method: 'qlora' as const, lora: plan.spec.method === 'lora' ? plan.spec.lora : lora };
    offer('METHOD_QLORA', { ...plan, spec });
    if (ways.length === 0) offer('METHOD_QLORA with batch_size 1', { ...plan, spec, batchSize: 1 });
  }
  return ways;
}
