import type { ModelConfig } from '@landfall/graph/models/config.ts';
import { loraParameters, totalParameters } from './parameters.ts';

/** What a run is planned with. */
export interface RunPlan {
  rank: number;
  targetModules: readonly string[];
  batchSize: number;
  epochs: number;
  rows: number;
  /** Mean tokens a row, prompt and answer. */
  tokensPerRow: number;
  /** Threads of one operation. */
  threads: number;
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

/** Node, onnxruntime and the tokenizer before any weight is loaded. */
const RUNTIME_BYTES = 250 * 1024 ** 2;
/** Values of a layer that a step holds for its backward pass, as multiples of (tokens x width). */
const HIDDEN_COPIES = 16;
const INTERMEDIATE_COPIES = 6;
/** Multiply-adds a second and thread in products of this size; a step's time was seen to vary by a factor of two. */
const FLOPS_PER_THREAD = 35e9;
/** What a step costs whatever its size. */
const STEP_OVERHEAD_SECONDS = 0.004;

/** Estimates a LoRA run from the model's shape; a guide to whether it fits and is worth waiting for. */
export function estimateLora(config: ModelConfig, plan: RunPlan): Estimate {
  const total = totalParameters(config);
  const trainable = loraParameters(config, plan.rank, plan.targetModules);
  const tokens = plan.batchSize * plan.tokensPerRow;
  const { hiddenSize, intermediateSize, layers, heads, vocabSize } = config;

  const layer = tokens * (HIDDEN_COPIES * hiddenSize + INTERMEDIATE_COPIES * intermediateSize);
  const attention = plan.batchSize * heads * plan.tokensPerRow ** 2 * 3;
  // Logits, their probabilities and gradients, at most half of the tokens being answers.
  const logits = (tokens / 2) * vocabSize * 3;
  // Adapter, gradients and AdamW's two moments.
  const adapter = trainable * 4;
  const memoryBytes = RUNTIME_BYTES + 4 * (total + layers * (layer + attention) + logits + adapter);

  // Forward and the gradients of the inputs, two operations a weight each; frozen weights have no gradient of their own.
  const weights = total - (config.tieWordEmbeddings ? 0 : vocabSize * hiddenSize);
  const stepFlops = 4 * weights * tokens + 6 * trainable * tokens;
  const steps = Math.ceil(plan.rows / plan.batchSize) * plan.epochs;
  const seconds = steps * (stepFlops / (FLOPS_PER_THREAD * plan.threads) + STEP_OVERHEAD_SECONDS);
  return {
    memoryBytes: Math.ceil(memoryBytes),
    seconds,
    trainableParameters: trainable,
    totalParameters: total,
  };
}
