import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeSafetensorsFrom } from '@landfall/graph/checkpoint/safetensors.ts';
import { readModelConfig } from '@landfall/graph/models/config.ts';
import { weightShapes } from '@landfall/graph/models/transformer.ts';
import { lcg } from './random.ts';
import type { Report } from './report.ts';

/** Shapes by name. */
const SHAPES = {
  /** SmolLM2-135M. */
  'smollm2-135m': {
    hidden: 576,
    layers: 30,
    heads: 9,
    keyValueHeads: 3,
    intermediate: 1536,
    vocabulary: 49_152,
  },
  /** The same in small, to try the bench itself. */
  tiny: { hidden: 64, layers: 2, heads: 4, keyValueHeads: 2, intermediate: 128, vocabulary: 512 },
} as const;
export type ShapeName = keyof typeof SHAPES;

const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
/** As transformers begins. */
const DEVIATION = 0.02;

/** `npm run bench -- make-model --out DIR [--shape smollm2-135m]` */
export async function run(report: Report, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { out: { type: 'string' }, shape: { type: 'string', default: 'smollm2-135m' } },
  });
  if (!values.out) throw new Error('give the folder to write to: --out DIR');
  if (!(values.shape in SHAPES)) throw new Error(`--shape is one of ${Object.keys(SHAPES).join(', ')}`);
  const parameters = makeModel(values.out, values.shape as ShapeName);
  report.figure('parameters', parameters, '');
}

/** Writes a LLaMA with random weights and a byte-level tokenizer padded to its vocabulary; returns its parameters. */
export function makeModel(folder: string, shape: ShapeName): number {
  const { hidden, layers, heads, keyValueHeads, intermediate, vocabulary } = SHAPES[shape];
  mkdirSync(folder, { recursive: true });
  const config = {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_act: 'silu',
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: hidden / heads,
    vocab_size: vocabulary,
    max_position_embeddings: 8192,
    rms_norm_eps: 1e-5,
    rope_theta: 100_000,
    tie_word_embeddings: true,
    attention_bias: false,
    mlp_bias: false,
    initializer_range: DEVIATION,
    bos_token_id: 0,
    eos_token_id: 2,
    dtype: 'float32',
  };
  const write = (name: string, json: object) =>
    writeFileSync(join(folder, name), `${JSON.stringify(json, null, 1)}\n`);
  write('config.json', config);
  write('generation_config.json', { bos_token_id: 0, eos_token_id: 2 });
  write('tokenizer.json', tokenizer(vocabulary));
  write('tokenizer_config.json', {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: SPECIAL[0],
    eos_token: SPECIAL[2],
    model_max_length: 8192,
    chat_template:
      "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
      "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
  });
  const random = lcg(135);
  let parameters = 0;
  const sources = new Map(
    [...weightShapes(readModelConfig(config))].map(([name, size]) => {
      const count = size.reduce((product, n) => product * n, 1);
      parameters += count;
      const read = () => (name.includes('norm') ? new Float32Array(count).fill(1) : normals(count, random));
      return [name, { shape: [...size], read }] as const;
    }),
  );
  writeSafetensorsFrom(join(folder, 'model.safetensors'), sources);
  return parameters;
}

/** Box and Muller 1958. */
function normals(count: number, random: () => number): Float32Array {
  const data = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = DEVIATION * Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    data[i] = radius * Math.cos(angle);
    if (i + 1 < count) data[i + 1] = radius * Math.sin(angle);
  }
  return data;
}

/** Special tokens, the 256 bytes, and tokens that no text has. */
function tokenizer(vocabulary: number): object {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  const bytes = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
  const tokens = [...SPECIAL, ...bytes];
  while (tokens.length < vocabulary) tokens.push(`<unused${tokens.length}>`);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: SPECIAL.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
}
