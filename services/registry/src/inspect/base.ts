import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { TensorEntry } from '@landfall/graph/checkpoint/safetensors.ts';
import { isObject, type JsonObject, readJsonObject, wholeNumber } from './json.ts';
import { readSafetensors, type Tensors } from './safetensors.ts';
import type { InspectedFile } from './source.ts';

/** Decoders that the mesh runs from safetensors: transformers' model_type. */
const DECODERS = ['llama', 'qwen2', 'qwen3', 'mistral'];
/** Models of a text and a vision part, each with a configuration of its own. */
const COMPOSED = ['clip', 'llava'];

const CONFIG = 'config.json';
const TOKENIZER = 'tokenizer.json';
const WEIGHTS = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
const MAX_TOKENIZER_BYTES = 48 * 1024 * 1024;

/**
 * Checks a base model: a Hugging Face folder with config.json, tokenizer.json and either safetensors weights that
 * fit the configuration, or an ONNX export. Throws INVALID_ARGUMENT.
 */
export async function checkBase(files: readonly InspectedFile[]): Promise<void> {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const configFile = required(byPath, CONFIG, 'a base model');
  const config = await readJsonObject(configFile);
  const tokenizer = await readJsonObject(required(byPath, TOKENIZER, 'a base model'), MAX_TOKENIZER_BYTES);
  if (!isObject(tokenizer.model)) throw invalidArgument('content', `'${TOKENIZER}' has no object 'model'`);
  const { model_type: modelType } = config;
  if (typeof modelType !== 'string' || !/^[a-z0-9_-]{1,64}$/i.test(modelType)) {
    throw invalidArgument('content', `'${CONFIG}' has no model_type`);
  }
  const weights = await readWeights(byPath);
  if (!weights) {
    // An export in onnx-community's layout carries its architecture in the graph.
    if (files.some(({ path }) => path.endsWith('.onnx'))) return;
    throw invalidArgument(
      'files',
      `a base model needs ${WEIGHTS}, ${INDEX} with its shards, or an .onnx file`,
    );
  }
  if (DECODERS.includes(modelType)) checkDecoder(configFile, config, weights);
  else if (COMPOSED.includes(modelType)) checkComposed(config);
  else {
    const known = [...DECODERS, ...COMPOSED].join(', ');
    throw invalidArgument('content', `'${CONFIG}' has the model_type '${modelType}'; known are ${known}`);
  }
}

export function required(
  files: ReadonlyMap<string, InspectedFile>,
  path: string,
  what: string,
): InspectedFile {
  const file = files.get(path);
  if (!file) throw invalidArgument('files', `${what} needs the file '${path}'`);
  return file;
}

/** All tensors of model.safetensors, or of the shards that the index names; undefined without either. */
async function readWeights(files: ReadonlyMap<string, InspectedFile>): Promise<Tensors | undefined> {
  const single = files.get(WEIGHTS);
  if (single) return readSafetensors(single);
  const index = files.get(INDEX);
  if (!index) return undefined;
  const { weight_map: weightMap } = await readJsonObject(index);
  if (!isObject(weightMap)) throw invalidArgument('content', `'${INDEX}' has no object weight_map`);
  const shards = new Map<unknown, Tensors>();
  const tensors = new Map<string, TensorEntry>();
  for (const [name, path] of Object.entries(weightMap)) {
    if (!shards.has(path)) {
      const shard = typeof path === 'string' && path.endsWith('.safetensors') ? files.get(path) : undefined;
      if (!shard)
        throw invalidArgument(
          'files',
          `'${INDEX}' names the shard ${JSON.stringify(path)}, which is missing`,
        );
      shards.set(path, await readSafetensors(shard));
    }
    const tensor = shards.get(path)!.get(name);
    if (!tensor)
      throw invalidArgument('content', `'${String(path)}' lacks the tensor '${name}' that '${INDEX}' names`);
    tensors.set(name, tensor);
  }
  return tensors;
}

function checkDecoder(file: InspectedFile, config: JsonObject, weights: Tensors): void {
  const hidden = wholeNumber(file, config, 'hidden_size', 1 << 20);
  const vocabulary = wholeNumber(file, config, 'vocab_size', 1 << 24);
  const layers = wholeNumber(file, config, 'num_hidden_layers', 1024);
  const heads = wholeNumber(file, config, 'num_attention_heads', 4096);
  const kvHeads = wholeNumber(file, config, 'num_key_value_heads', 4096, heads);
  const headSize = wholeNumber(file, config, 'head_dim', 1 << 16, Math.floor(hidden / heads));
  const inner = wholeNumber(file, config, 'intermediate_size', 1 << 22);
  if (heads % kvHeads !== 0) {
    throw invalidArgument(
      'content',
      `'${CONFIG}' has ${heads} attention heads, which ${kvHeads} key heads don't divide`,
    );
  }
  expectShape(weights, 'model.embed_tokens.weight', [vocabulary, hidden]);
  for (let layer = 0; layer < layers; layer++) {
    const prefix = `model.layers.${layer}`;
    expectShape(weights, `${prefix}.self_attn.q_proj.weight`, [heads * headSize, hidden]);
    expectShape(weights, `${prefix}.self_attn.k_proj.weight`, [kvHeads * headSize, hidden]);
    expectShape(weights, `${prefix}.self_attn.v_proj.weight`, [kvHeads * headSize, hidden]);
    expectShape(weights, `${prefix}.self_attn.o_proj.weight`, [hidden, heads * headSize]);
    expectShape(weights, `${prefix}.mlp.gate_proj.weight`, [inner, hidden]);
    expectShape(weights, `${prefix}.mlp.up_proj.weight`, [inner, hidden]);
    expectShape(weights, `${prefix}.mlp.down_proj.weight`, [hidden, inner]);
  }
}

function checkComposed(config: JsonObject): void {
  for (const part of ['text_config', 'vision_config']) {
    if (!isObject(config[part])) throw invalidArgument('content', `'${CONFIG}' has no object ${part}`);
  }
}

function expectShape(weights: Tensors, name: string, shape: readonly number[]): void {
  const tensor = weights.get(name);
  if (!tensor) throw invalidArgument('content', `the weights lack '${name}', which '${CONFIG}' calls for`);
  if (tensor.shape.length !== shape.length || tensor.shape.some((size, axis) => size !== shape[axis])) {
    throw invalidArgument(
      'content',
      `'${name}' has the shape [${tensor.shape}] where '${CONFIG}' means [${shape}]`,
    );
  }
}
