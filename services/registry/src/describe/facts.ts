import type { KindName } from '../db/entities.ts';
import type { DatasetSummary } from '../inspect/dataset.ts';
import { isObject, type JsonObject, readJsonObject } from '../inspect/json.ts';
import { readSafetensors } from '../inspect/safetensors.ts';
import type { InspectedFile } from '../inspect/source.ts';

/** What the files of a version say of it, by name, for people. */
export type Facts = Record<string, string>;

/** Facts of config.json, by transformers' names. */
const BASE_FACTS: readonly [string, readonly string[]][] = [
  ['model_type', ['model_type']],
  ['hidden_size', ['hidden_size', 'n_embd', 'd_model']],
  ['layers', ['num_hidden_layers', 'n_layer']],
  ['attention_heads', ['num_attention_heads', 'n_head']],
  ['key_value_heads', ['num_key_value_heads']],
  ['vocabulary', ['vocab_size']],
  ['context_length', ['max_position_embeddings', 'n_positions']],
];
/** Facts of adapter_config.json, by peft's names. */
const ADAPTER_FACTS: readonly [string, readonly string[]][] = [
  ['peft_type', ['peft_type']],
  ['rank', ['r']],
  ['alpha', ['lora_alpha']],
  ['dropout', ['lora_dropout']],
  ['target_modules', ['target_modules']],
];

/**
 * Reads the facts of files that were inspected before: configuration, and the headers of the weights.
 * @param summary of a data set's rows
 */
export async function readFacts(
  kind: KindName,
  files: readonly InspectedFile[],
  summary: DatasetSummary | undefined,
): Promise<Facts> {
  if (kind === 'dataset') {
    const { rows, fields } = summary ?? { rows: 0, fields: [] };
    return { rows: String(rows), fields: fields.join(', ') };
  }
  const path = kind === 'base' ? 'config.json' : 'adapter_config.json';
  const configFile = files.find((file) => file.path === path);
  const config = configFile ? await readJsonObject(configFile) : {};
  const facts = pick(config, kind === 'base' ? BASE_FACTS : ADAPTER_FACTS);
  // A model of a text and a vision part tells its sizes there.
  if (isObject(config.text_config))
    Object.assign(facts, { ...pick(config.text_config, BASE_FACTS), ...facts });
  return { ...facts, ...(await weightFacts(files)) };
}

/** Number of parameters and their types, from the headers; formats of what has no such header. */
async function weightFacts(files: readonly InspectedFile[]): Promise<Facts> {
  let parameters = 0;
  const types = new Set<string>();
  for (const file of files.filter(({ path }) => /\.safetensors$/i.test(path))) {
    for (const { shape, dtype } of (await readSafetensors(file)).values()) {
      parameters += shape.reduce((product, size) => product * size, 1);
      types.add(dtype);
    }
  }
  const graphs = files.filter(({ path }) => /\.onnx$/i.test(path)).map(({ path }) => path);
  return {
    ...(parameters > 0 && { parameters: String(parameters), dtype: [...types].sort().join(', ') }),
    ...(graphs.length > 0 && { onnx: graphs.slice(0, 32).join(', ') }),
  };
}

function pick(config: JsonObject, names: readonly [string, readonly string[]][]): Facts {
  const facts: Facts = {};
  for (const [fact, keys] of names) {
    const value = keys.map((key) => config[key]).find((one) => one !== undefined && one !== null);
    const parts = (Array.isArray(value) ? value : [value]).filter(
      (part) => typeof part === 'string' || typeof part === 'number',
    );
    if (parts.length > 0) facts[fact] = parts.slice(0, 64).join(', ').replace(/\p{C}/gu, ' ').slice(0, 512);
  }
  return facts;
}
