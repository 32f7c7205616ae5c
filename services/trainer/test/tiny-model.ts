// A Hugging Face folder made for tests: byte-level tokenizer, chat template, random LLaMA weights from a seed.

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { initialLlavaWeights } from '@landfall/graph/checkpoint/initial-llava.ts';
import { writeModel } from '@landfall/graph/checkpoint/write-model.ts';
import { randomOf } from '@landfall/metrics/random.ts';

/** The shape of the tiny model. */
export const TINY = {
  hidden: 32,
  intermediate: 48,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headSize: 8,
  vocabulary: 264,
  context: 256,
};

const SPECIAL = ['<pad>', '<s>', '</s>', '<|user|>', '<|assistant|>', '<|system|>', '<|end|>'];

/** Id of the token that ends a turn. */
export const END = SPECIAL.indexOf('<|end|>');

/** Ids of a special token by its content. */
export const idOf = (content: string): number => SPECIAL.indexOf(content);

const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** Writes config.json, tokenizer files and model.safetensors. */
export function writeTinyModel(folder: string, options: { seed?: bigint; template?: boolean } = {}): void {
  mkdirSync(folder, { recursive: true });
  const write = writerIn(folder);
  write('config.json', { architectures: ['LlamaForCausalLM'], ...TEXT_CONFIG });
  writeTokenizer(write, options.template ?? true);
  writeFileSync(path.join(folder, 'model.safetensors'), weights(options.seed ?? 1n));
}

const writerIn = (folder: string) => (name: string, value: unknown) =>
  writeFileSync(path.join(folder, name), JSON.stringify(value, null, 1));

const TEXT_CONFIG = {
  model_type: 'llama',
  bos_token_id: 1,
  eos_token_id: END,
  pad_token_id: 0,
  hidden_act: 'silu',
  hidden_size: TINY.hidden,
  intermediate_size: TINY.intermediate,
  num_hidden_layers: TINY.layers,
  num_attention_heads: TINY.heads,
  num_key_value_heads: TINY.keyValueHeads,
  head_dim: TINY.headSize,
  max_position_embeddings: TINY.context,
  rms_norm_eps: 1e-5,
  rope_parameters: { rope_theta: 10000, rope_type: 'default' },
  tie_word_embeddings: true,
  vocab_size: TINY.vocabulary,
  dtype: 'float32',
};

const IMAGE = '<image>';

/** A tiny LLaVA: the same decoder, a tower for images of 16 x 16 that sees 4 patches. */
export function writeTinyLlava(folder: string, seed = 1n): void {
  const write = writerIn(folder);
  const config = {
    architectures: ['LlavaForConditionalGeneration'],
    model_type: 'llava',
    eos_token_id: END,
    image_token_index: SPECIAL.length,
    text_config: { ...TEXT_CONFIG, initializer_range: 0.2 },
    tie_word_embeddings: true,
    vision_config: {
      model_type: 'clip_vision_model',
      hidden_size: 16,
      intermediate_size: 24,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      image_size: 16,
      patch_size: 8,
    },
    vision_feature_layer: -1,
  };
  writeModel(folder, config, initialLlavaWeights(config, randomOf(seed, 'llava')));
  writeTokenizer(write, true, [...SPECIAL, IMAGE]);
  write('preprocessor_config.json', {
    crop_size: { height: 16, width: 16 },
    size: { shortest_edge: 16 },
    image_mean: [0.5, 0.5, 0.5],
    image_std: [0.5, 0.5, 0.5],
  });
}

function writeTokenizer(
  write: (name: string, value: unknown) => void,
  template: boolean,
  special: readonly string[] = SPECIAL,
): void {
  const vocab: Record<string, number> = {};
  for (const [id, token] of [...special, ...byteAlphabet()].entries()) vocab[token] = id;
  write('tokenizer.json', {
    version: '1.0',
    added_tokens: special.map((content, id) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    })),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', unk_token: null, byte_fallback: false, fuse_unk: false, vocab, merges: [] },
  });
  write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: '<s>',
    eos_token: '<|end|>',
    pad_token: '<pad>',
    model_max_length: TINY.context,
    ...(template ? { chat_template: TEMPLATE } : {}),
  });
}

/** GPT-2's printable stand-ins for the 256 bytes. */
function byteAlphabet(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

function weights(seed: bigint): Buffer {
  const { hidden, intermediate, heads, keyValueHeads, headSize, vocabulary } = TINY;
  const shapes: [string, number[]][] = [['model.embed_tokens.weight', [vocabulary, hidden]]];
  for (let layer = 0; layer < TINY.layers; layer++) {
    const prefix = `model.layers.${layer}`;
    shapes.push(
      [`${prefix}.input_layernorm.weight`, [hidden]],
      [`${prefix}.self_attn.q_proj.weight`, [heads * headSize, hidden]],
      [`${prefix}.self_attn.k_proj.weight`, [keyValueHeads * headSize, hidden]],
      [`${prefix}.self_attn.v_proj.weight`, [keyValueHeads * headSize, hidden]],
      [`${prefix}.self_attn.o_proj.weight`, [hidden, heads * headSize]],
      [`${prefix}.post_attention_layernorm.weight`, [hidden]],
      [`${prefix}.mlp.gate_proj.weight`, [intermediate, hidden]],
      [`${prefix}.mlp.up_proj.weight`, [intermediate, hidden]],
      [`${prefix}.mlp.down_proj.weight`, [hidden, intermediate]],
    );
  }
  shapes.push(['model.norm.weight', [hidden]]);
  const header: Record<string, unknown> = {};
  const parts: Buffer[] = [];
  let offset = 0;
  for (const [name, shape] of shapes) {
    const random = randomOf(seed, name);
    const length = shape.reduce((a, b) => a * b, 1);
    const scale = shape.length === 1 ? 0 : 1.5 / Math.sqrt(shape[1]!);
    const values = Float32Array.from({ length }, () => (scale ? (random() * 2 - 1) * scale : 1));
    parts.push(Buffer.from(values.buffer));
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + length * 4] };
    offset += length * 4;
  }
  let json = JSON.stringify(header);
  json = json.padEnd(Math.ceil(json.length / 8) * 8, ' ');
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([size, Buffer.from(json), ...parts]);
}
