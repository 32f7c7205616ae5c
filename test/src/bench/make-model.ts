import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { writeSafetensorsFrom } from '@landfall/graph/checkpoint/safetensors.ts';
import { readModelConfig } from '@landfall/graph/models/config.ts';
import { weightShapes } from '@landfall/graph/models/transformer.ts';
import { LLAVA, makeLlava } from './make-llava.ts';
import { CHAT_TEMPLATE, DEVIATION, normals, SPECIAL, tokenizer } from './model-parts.ts';
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

/** `npm run bench -- make-model --out DIR [--shape smollm2-135m|tiny|llava-small]` */
export async function run(report: Report, args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { out: { type: 'string' }, shape: { type: 'string', default: 'smollm2-135m' } },
  });
  if (!values.out) throw new Error('give the folder to write to: --out DIR');
  const shapes = [...Object.keys(SHAPES), LLAVA];
  if (!shapes.includes(values.shape)) throw new Error(`--shape is one of ${shapes.join(', ')}`);
  const parameters =
    values.shape === LLAVA ? makeLlava(values.out) : makeModel(values.out, values.shape as ShapeName);
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
    chat_template: CHAT_TEMPLATE,
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
