/** A Hugging Face folder made for tests: byte-level tokenizer, chat template, random LLaMA weights from a seed. */

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type NamedTensor, writeSafetensors } from '@landfall/graph/checkpoint/safetensors.ts';

export const TINY = {
  hidden: 32,
  intermediate: 64,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headSize: 8,
  vocabulary: 272,
  context: 128,
};

export const SPECIAL = ['<pad>', '<s>', '</s>', '<|user|>', '<|assistant|>', '<|system|>', '<|end|>'];
export const EOS = SPECIAL.indexOf('<|end|>');

const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** Mulberry32: small, good enough for weights. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function byteAlphabet(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

/** Of the tiny model that reads images, behind the tokens that it has otherwise. */
export const IMAGE_TOKEN = SPECIAL.length + 257;

/**
 * Writes tokenizer.json, tokenizer_config.json; with `ownFile` the template is in chat_template.jinja, with `image` there
 * is an image token, with `added` there are others from IMAGE_TOKEN on; `frame` says what stands around a text.
 */
export function writeTokenizer(
  folder: string,
  options: {
    ownFile?: boolean;
    image?: boolean;
    added?: readonly string[];
    template?: string;
    frame?: 'start' | 'both' | 'none';
  } = {},
): void {
  const { template = TEMPLATE, frame = 'start', added: others = options.image ? ['<image>'] : [] } = options;
  mkdirSync(folder, { recursive: true });
  const vocab: Record<string, number> = {};
  for (const [i, token] of [...SPECIAL, ...byteAlphabet()].entries()) vocab[token] = i;
  // One merge, over the first two bytes of 高, so that tokens cut characters.
  const [a, b] = [...new TextEncoder().encode('高')].map((x) => byteAlphabet()[x]!);
  vocab[`${a}${b}`] = SPECIAL.length + 256;
  const tokens = SPECIAL.map((content, id) => ({ id, content }));
  tokens.push(...others.map((content, i) => ({ id: IMAGE_TOKEN + i, content })));
  const added = tokens.map(({ id, content }) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  const json = {
    version: '1.0',
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: frame === 'none' ? null : postProcessor(frame === 'both'),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      unk_token: null,
      byte_fallback: false,
      fuse_unk: false,
      vocab,
      merges: [`${a} ${b}`],
    },
  };
  writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(json));
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: '<s>',
    eos_token: '<|end|>',
    pad_token: '<pad>',
    model_max_length: TINY.context,
    ...(options.ownFile ? {} : { chat_template: template }),
  };
  writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  if (options.ownFile) writeFileSync(path.join(folder, 'chat_template.jinja'), template);
}

function postProcessor(both: boolean): object {
  const special = (id: string) => ({ id, ids: [SPECIAL.indexOf(id)], tokens: [id] });
  const mark = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  return {
    type: 'TemplateProcessing',
    single: [mark('<s>'), { Sequence: { id: 'A', type_id: 0 } }, ...(both ? [mark('<|end|>')] : [])],
    pair: [],
    special_tokens: { '<s>': special('<s>'), '<|end|>': special('<|end|>') },
  };
}

/** Values around zero, wide enough that greedy decoding does not settle on one token at once. */
export function tensor(next: () => number, shape: number[], scale: number): NamedTensor {
  const size = shape.reduce((product, n) => product * n, 1);
  return { shape, data: Float32Array.from({ length: size }, () => (next() * 2 - 1) * scale) };
}

/** config.json of the tiny model. */
export function tinyConfig(): Record<string, unknown> {
  const { hidden, intermediate, layers, heads, keyValueHeads, headSize, vocabulary, context } = TINY;
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: headSize,
    vocab_size: vocabulary,
    max_position_embeddings: context,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
    attention_bias: false,
    mlp_bias: false,
    bos_token_id: 1,
    eos_token_id: EOS,
  };
}

/** Writes the whole folder: configuration, tokenizer and random weights, as `dtype`. */
export function writeTinyModel(folder: string, options: { seed?: number; dtype?: 'F32' | 'F16' } = {}): void {
  writeTokenizer(folder);
  const config = { ...tinyConfig(), torch_dtype: options.dtype === 'F16' ? 'float16' : 'float32' };
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config));
  const weights = tinyWeights(random(options.seed ?? 1));
  writeSafetensors(path.join(folder, 'model.safetensors'), weights, { dtype: options.dtype ?? 'F32' });
}

/** Random weights of the tiny model. */
export function tinyWeights(next: () => number): Map<string, NamedTensor> {
  const { hidden, intermediate, layers, heads, keyValueHeads, headSize, vocabulary } = TINY;
  const weights = new Map<string, NamedTensor>();
  const linear = (name: string, n: number, k: number) =>
    weights.set(`${name}.weight`, tensor(next, [n, k], 2 / Math.sqrt(k)));
  const norm = (name: string) =>
    weights.set(`${name}.weight`, { shape: [hidden], data: new Float32Array(hidden).fill(1) });
  linear('model.embed_tokens', vocabulary, hidden);
  for (let i = 0; i < layers; i++) {
    const layer = `model.layers.${i}`;
    linear(`${layer}.self_attn.q_proj`, heads * headSize, hidden);
    linear(`${layer}.self_attn.k_proj`, keyValueHeads * headSize, hidden);
    linear(`${layer}.self_attn.v_proj`, keyValueHeads * headSize, hidden);
    linear(`${layer}.self_attn.o_proj`, hidden, heads * headSize);
    linear(`${layer}.mlp.gate_proj`, intermediate, hidden);
    linear(`${layer}.mlp.up_proj`, intermediate, hidden);
    linear(`${layer}.mlp.down_proj`, hidden, intermediate);
    norm(`${layer}.input_layernorm`);
    norm(`${layer}.post_attention_layernorm`);
  }
  norm('model.norm');
  linear('lm_head', vocabulary, hidden);
  return weights;
}

/** Writes a LoRA adapter for the tiny model in peft's layout. */
export function writeTinyAdapter(
  folder: string,
  options: { seed: number; rank?: number; hidden?: number },
): void {
  const { heads, keyValueHeads, headSize, layers } = TINY;
  const { seed, rank = 4, hidden = TINY.hidden } = options;
  mkdirSync(folder, { recursive: true });
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: rank,
    lora_alpha: 2 * rank,
    lora_dropout: 0,
    target_modules: ['q_proj', 'v_proj'],
    bias: 'none',
    base_model_name_or_path: 'models:/base/1.0.0',
    inference_mode: true,
  };
  writeFileSync(path.join(folder, 'adapter_config.json'), JSON.stringify(config));
  const next = random(seed);
  const weights = new Map<string, NamedTensor>();
  for (let i = 0; i < layers; i++) {
    for (const [module, n] of [
      ['q_proj', heads * headSize],
      ['v_proj', keyValueHeads * headSize],
    ] as const) {
      const name = `base_model.model.model.layers.${i}.self_attn.${module}`;
      weights.set(`${name}.lora_A.weight`, tensor(next, [rank, hidden], 1));
      weights.set(`${name}.lora_B.weight`, tensor(next, [n, rank], 1));
    }
  }
  writeSafetensors(path.join(folder, 'adapter_model.safetensors'), weights);
}
