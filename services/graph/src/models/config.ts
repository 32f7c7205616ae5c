import { CheckpointError } from '../checkpoint/errors.ts';

export interface RopeScaling {
  type: 'default' | 'linear' | 'llama3' | 'yarn';
  factor: number;
  lowFreqFactor?: number;
  highFreqFactor?: number;
  originalMaxPosition?: number;
  betaFast?: number;
  betaSlow?: number;
  attentionFactor?: number;
  mscale?: number;
  mscaleAllDim?: number;
  /** Whether yarn's range of dimensions is rounded to whole ones (default true). */
  truncate?: boolean;
}

/** Shape of a decoder-only model, in the terms of a Hugging Face config.json. */
export interface ModelConfig {
  modelType: 'llama' | 'mistral' | 'qwen2' | 'qwen3';
  vocabSize: number;
  hiddenSize: number;
  intermediateSize: number;
  layers: number;
  heads: number;
  keyValueHeads: number;
  headDim: number;
  rmsNormEps: number;
  ropeTheta: number;
  rope: RopeScaling;
  maxPositions: number;
  tieWordEmbeddings: boolean;
  /** Biases of q, k and v. */
  attentionBias: boolean;
  /** Bias of the attention's output. */
  outputBias: boolean;
  mlpBias: boolean;
  /** RMSNorm over each head's query and key. */
  queryKeyNorm: boolean;
  /** A token sees this many tokens, itself included; undefined for all. */
  slidingWindow: number | undefined;
}

const TYPES = ['llama', 'mistral', 'qwen2', 'qwen3'] as const;

/** What transformers takes where a configuration of the type is silent. */
const DEFAULTS = {
  llama: { maxPositions: 2048 },
  mistral: { keyValueHeads: 8, maxPositions: 131_072, slidingWindow: 4096 },
  qwen2: { keyValueHeads: 32, maxPositions: 32_768 },
  qwen3: { keyValueHeads: 32, maxPositions: 32_768, headDim: 128 },
} as const;

export type Json = Record<string, unknown>;

/** Largest numbers that are believed: far above any model, and far below what exhausts memory before a weight is read. */
const LIMITS = {
  vocab_size: 2 ** 24,
  hidden_size: 2 ** 20,
  intermediate_size: 2 ** 22,
  num_hidden_layers: 1024,
  num_attention_heads: 4096,
  num_key_value_heads: 4096,
  head_dim: 2 ** 16,
  max_position_embeddings: 2 ** 31,
  image_size: 2 ** 14,
  patch_size: 2 ** 10,
  num_channels: 16,
  projection_dim: 2 ** 16,
} as const;

/** @throws CheckpointError unless it is a whole number above 0 and believable */
export function positiveInteger(json: Json, name: keyof typeof LIMITS, fallback?: number): number {
  const value = json[name] ?? fallback;
  if (!Number.isSafeInteger(value) || (value as number) <= 0)
    throw new CheckpointError(`config.json: ${name} must be a positive whole number`);
  if ((value as number) > LIMITS[name])
    throw new CheckpointError(`config.json: ${name} must be at most ${LIMITS[name]}`);
  return value as number;
}

/** @throws CheckpointError unless it is a number above 0 */
export function positive(json: Json, name: string, fallback?: number): number {
  const value = json[name] ?? fallback;
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
    throw new CheckpointError(`config.json: ${name} must be a number above 0`);
  return value;
}

/**
 * Reads a config.json.
 * @throws CheckpointError that names what is missing, wrong, or not supported.
 */
export function readModelConfig(json: Json): ModelConfig {
  const modelType = TYPES.find((type) => type === json.model_type);
  if (!modelType) {
    throw new CheckpointError(
      `config.json: model_type ${String(json.model_type)} is not supported; ${TYPES.join(', ')} are`,
    );
  }
  if (json.hidden_act !== undefined && json.hidden_act !== 'silu') {
    throw new CheckpointError(`config.json: hidden_act ${String(json.hidden_act)} is not supported; silu is`);
  }
  const defaults: { keyValueHeads?: number; maxPositions: number; slidingWindow?: number; headDim?: number } =
    DEFAULTS[modelType];
  const hiddenSize = positiveInteger(json, 'hidden_size');
  const heads = positiveInteger(json, 'num_attention_heads');
  // A null stands for one of each head, silence for the type's own number.
  const absent = json.num_key_value_heads === undefined;
  const keyValueHeads = positiveInteger(
    json,
    'num_key_value_heads',
    (absent ? defaults.keyValueHeads : undefined) ?? heads,
  );
  const headDim = positiveInteger(json, 'head_dim', defaults.headDim ?? hiddenSize / heads);
  if (heads % keyValueHeads !== 0) {
    throw new CheckpointError('config.json: num_attention_heads must be a multiple of num_key_value_heads');
  }
  if (headDim % 2 !== 0) throw new CheckpointError('config.json: head_dim must be even');
  const { rope_scaling: scaling, rope_parameters: parameters } = json;
  const isEmpty = typeof scaling === 'object' && scaling !== null && Object.keys(scaling).length === 0;
  const ropeJson = (isEmpty ? undefined : scaling) ?? parameters ?? {};
  if (typeof ropeJson !== 'object' || Array.isArray(ropeJson))
    throw new CheckpointError('config.json: rope_parameters must be an object');
  const maxPositions = positiveInteger(json, 'max_position_embeddings', defaults.maxPositions);
  const partial = (ropeJson as Json).partial_rotary_factor ?? json.partial_rotary_factor ?? 1;
  if (partial !== 1)
    throw new CheckpointError('config.json: a partial_rotary_factor other than 1 is not supported');
  if (json.use_sliding_window === true && modelType !== 'mistral') {
    throw new CheckpointError('config.json: use_sliding_window is not supported for this model type');
  }
  const window = json.sliding_window === undefined ? defaults.slidingWindow : json.sliding_window;
  const hasBiasOption = modelType === 'llama' || modelType === 'qwen3';
  return {
    modelType,
    vocabSize: positiveInteger(json, 'vocab_size'),
    hiddenSize,
    intermediateSize: positiveInteger(json, 'intermediate_size'),
    layers: positiveInteger(json, 'num_hidden_layers'),
    heads,
    keyValueHeads,
    headDim,
    rmsNormEps: positive(json, 'rms_norm_eps', 1e-6),
    ropeTheta: positive({ ...json, ...('rope_theta' in ropeJson ? ropeJson : {}) }, 'rope_theta', 10_000),
    rope: readRope(ropeJson as Json, json, maxPositions),
    maxPositions,
    tieWordEmbeddings: json.tie_word_embeddings === true,
    attentionBias: modelType === 'qwen2' || (hasBiasOption && json.attention_bias === true),
    outputBias: hasBiasOption && json.attention_bias === true,
    mlpBias: modelType === 'llama' && json.mlp_bias === true,
    queryKeyNorm: modelType === 'qwen3',
    slidingWindow: modelType === 'mistral' && typeof window === 'number' && window > 0 ? window : undefined,
  };
}

function readRope(rope: Json, json: Json, maxPositions: number): RopeScaling {
  const type = String(rope.rope_type ?? rope.type ?? 'default');
  if (type === 'default') return { type, factor: 1 };
  if (type !== 'linear' && type !== 'llama3' && type !== 'yarn') {
    throw new CheckpointError(
      `config.json: rope type ${type} is not supported; default, linear, llama3, yarn are`,
    );
  }
  const optional = (name: string) => {
    // An mscale of 0 means none.
    const absent =
      rope[name] === undefined || rope[name] === null || (rope[name] === 0 && name.startsWith('mscale'));
    return absent ? {} : { [name]: positive(rope, name) };
  };
  const found: Record<string, number> = Object.assign(
    {},
    ...[
      'low_freq_factor',
      'high_freq_factor',
      'beta_fast',
      'beta_slow',
      'attention_factor',
      'mscale',
      'mscale_all_dim',
      'original_max_position_embeddings',
    ].map(optional),
  );
  if ((found.low_freq_factor ?? 1) >= (found.high_freq_factor ?? 4))
    throw new CheckpointError('config.json: low_freq_factor must be below high_freq_factor');
  const originalMaxPosition =
    // Outside of the object it comes first.
    json.original_max_position_embeddings === undefined
      ? (found.original_max_position_embeddings ?? maxPositions)
      : positive(json, 'original_max_position_embeddings');
  return {
    type,
    factor: positive(rope, 'factor', type === 'yarn' ? maxPositions / originalMaxPosition : undefined),
    lowFreqFactor: found.low_freq_factor ?? 1,
    highFreqFactor: found.high_freq_factor ?? 4,
    originalMaxPosition,
    betaFast: found.beta_fast ?? 32,
    betaSlow: found.beta_slow ?? 1,
    ...(found.attention_factor === undefined ? {} : { attentionFactor: found.attention_factor }),
    ...(found.mscale === undefined ? {} : { mscale: found.mscale }),
    ...(found.mscale_all_dim === undefined ? {} : { mscaleAllDim: found.mscale_all_dim }),
    truncate: rope.truncate !== false,
  };
}
