import { type Checkpoint, openCheckpoint } from '../src/checkpoint/checkpoint.ts';
import type { LoraAdapter } from '../src/checkpoint/peft.ts';
import { readFloat32, type StoredType } from '../src/checkpoint/safetensors.ts';
import { initialWeights, writeModel } from '../src/checkpoint/write-model.ts';
import { initialLora, type LoraConfig } from '../src/training/lora.ts';
import { between } from './random.ts';

/** A small model's config.json; weights are large enough for its answers to differ. */
export const SMALL = {
  model_type: 'llama',
  vocab_size: 97,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 128,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: false,
  initializer_range: 0.2,
  bos_token_id: 1,
  eos_token_id: 2,
} as const;

/** Architectures that differ in what an engine can get wrong. */
export const VARIANTS: Record<string, Record<string, unknown>> = {
  'llama, yarn, one key/value head, tied': {
    num_key_value_heads: 1,
    head_dim: 12,
    tie_word_embeddings: true,
    rope_parameters: { rope_type: 'yarn', rope_theta: 1000, factor: 4, original_max_position_embeddings: 32 },
  },
  'llama, biases everywhere': { attention_bias: true, mlp_bias: true },
  'mistral, window of 5': { model_type: 'mistral', sliding_window: 5 },
  qwen2: { model_type: 'qwen2' },
  'qwen3, head size apart': { model_type: 'qwen3', head_dim: 20 },
};

/** Writes a model folder with random weights, biases and norms included. */
export function randomModel(
  folder: string,
  changes: Record<string, unknown>,
  random: () => number,
  dtype: StoredType = 'F32',
): Checkpoint {
  const config = { ...SMALL, ...changes };
  const weights = initialWeights(config, random);
  for (const { shape, data } of weights.values())
    if (shape.length === 1) for (let i = 0; i < data.length; i++) data[i]! += 0.4 * (random() - 0.5);
  writeModel(folder, config, weights, dtype);
  return openCheckpoint(folder);
}

/** An adapter over a random model, with a B that is not zero and own weights that are not the base's. */
export function randomLora(checkpoint: Checkpoint, lora: LoraConfig, random: () => number): LoraAdapter {
  const tensors = initialLora(checkpoint.config, lora, random, (name) => {
    const entry = checkpoint.tensors.get(name)!;
    return readFloat32(entry.file, entry);
  });
  for (const [name, { data }] of tensors) {
    if (name.includes('.lora_A.')) continue;
    for (let i = 0; i < data.length; i++) data[i]! += 0.5 * (random() - 0.5);
  }
  return { config: lora, tensors };
}

/** Sequences of random tokens with a label for most of them. */
export function randomSequences(random: () => number, count: number, longest: number, vocabSize = 97) {
  return Array.from({ length: count }, () => {
    const ids = Array.from({ length: between(random, 2, longest) }, () => between(random, 3, vocabSize - 1));
    const labels = ids.map((id, i) => (i === 1 || random() < 0.7 ? id : -100));
    return { ids, labels };
  });
}
