/** Which exported models that read images are served, and what their folders say of it. */

import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { readJsonObject } from '@landfall/graph/checkpoint/read-json.ts';
import type { ImageText, PromptForm, TaskForm } from '../engine/prompt.ts';

interface Family {
  /** Graphs that its folder has in onnx/. */
  graphs: readonly string[];
  form: PromptForm['kind'];
  /** Images of one prompt; undefined for any number. */
  mostImages?: number;
}

const DECODER = ['vision_encoder', 'embed_tokens', 'decoder_model_merged'] as const;
const CHAT: Family = { graphs: DECODER, form: 'chat' };

/** By their model_type. */
const FAMILIES = {
  llava: CHAT,
  llava_onevision: CHAT,
  qwen2_vl: CHAT,
  smolvlm: CHAT,
  idefics3: CHAT,
  paligemma: { graphs: DECODER, form: 'prefix' },
  florence2: { graphs: [...DECODER, 'encoder_model'], form: 'task', mostImages: 1 },
} as const satisfies Record<string, Family>;

export type FamilyName = keyof typeof FAMILIES;

/** What an exported folder says of a model that reads images. */
export interface ExportedVision {
  family: FamilyName;
  graphs: readonly string[];
  mostImages: number | undefined;
  text: ImageText;
  /** The image token as the tokenizer writes it; empty where images stand outside of the text. */
  token: string;
  /** What an image processor must know beside its own file. */
  patchSize: number | undefined;
  additionalTokens: number;
  sequenceLength: number | undefined;
  /** Side of the squares of patches that become one token. */
  mergeSize: number;
}

type Json = Record<string, unknown>;

/**
 * How a folder's model reads images; undefined for a model of text alone.
 * @throws Error naming a kind of model whose images are not served, or what the folder does not say
 */
export function exportedVision(folder: string): ExportedVision | undefined {
  const config = readJsonObject(folder, 'config.json');
  const { model_type: type } = config;
  if (typeof type !== 'string' || !Object.hasOwn(FAMILIES, type)) {
    const onnx = path.join(folder, 'onnx');
    const sees = existsSync(onnx) && readdirSync(onnx).some((name) => name.startsWith('vision_encoder'));
    if (!sees) return undefined;
    const served = Object.keys(FAMILIES).join(', ');
    throw new Error(
      `config.json: images of model_type ${String(type)} are not served; those of ${served} are`,
    );
  }
  const family = type as FamilyName;
  const { graphs, form, mostImages }: Family = FAMILIES[family];
  const preprocessor = readJsonObject(folder, 'preprocessor_config.json');
  const more = existsSync(path.join(folder, 'processor_config.json'))
    ? readJsonObject(folder, 'processor_config.json')
    : {};
  const token = form === 'task' ? undefined : imageToken(config);
  const vision = (config.vision_config ?? {}) as Json;
  return {
    family,
    graphs,
    mostImages,
    text: { token, form: form === 'task' ? taskForm(preprocessor) : { kind: form } },
    token: token === undefined ? '' : contentOf(folder, token),
    patchSize: numberOf(more.patch_size) ?? numberOf(vision.patch_size),
    // The class token's place is dropped where the default features are selected.
    additionalTokens:
      more.vision_feature_select_strategy === 'full' ? (numberOf(more.num_additional_image_tokens) ?? 0) : 0,
    sequenceLength:
      numberOf(more.image_seq_len) ??
      numberOf(preprocessor.image_seq_length) ??
      numberOf(vision.num_image_tokens),
    mergeSize: numberOf(preprocessor.merge_size) ?? 2,
  };
}

function imageToken(config: Json): number {
  const token = numberOf(config.image_token_index) ?? numberOf(config.image_token_id);
  if (token === undefined) throw new Error('config.json does not say image_token_index or image_token_id');
  return token;
}

function contentOf(folder: string, token: number): string {
  const { added_tokens: added } = readJsonObject(folder, 'tokenizer.json');
  const found = (Array.isArray(added) ? added : []).find(({ id }: { id?: unknown }) => id === token);
  if (typeof found?.content !== 'string' || found.content === '')
    throw new Error(`tokenizer.json has no added token ${token}, the model's image token`);
  return found.content;
}

function taskForm(preprocessor: Json): TaskForm {
  const words = (name: string) => {
    const value = preprocessor[name] ?? {};
    const entries = Object.entries(value as object);
    if (typeof value !== 'object' || entries.some(([, text]) => typeof text !== 'string'))
      throw new Error(`preprocessor_config.json: ${name} must give each task its words`);
    return value as Record<string, string>;
  };
  return {
    kind: 'task',
    alone: words('task_prompts_without_inputs'),
    withInput: words('task_prompts_with_input'),
  };
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

interface Sizes {
  model_type?: string;
  max_position_embeddings?: number;
  vocab_size?: number;
}

/** What transformers takes for the positions of a decoder whose configuration is silent. */
const POSITIONS: Record<string, number> = {
  llama: 2048,
  mistral: 131_072,
  qwen2: 32_768,
  qwen2_vl: 32_768,
  gemma: 8192,
  gemma2: 8192,
  florence2_language: 1024,
};

/**
 * Tokens of a sequence, and of the vocabulary.
 * @param config config.json, with the decoder's own under text_config where the model reads images
 * @throws Error naming what it does not say
 */
export function sizesOf(config: Sizes & { text_config?: Sizes }): {
  contextLength: number;
  vocabularySize: number;
} {
  const { text_config: text = {} } = config;
  const type = text.model_type ?? config.model_type ?? '';
  const contextLength = text.max_position_embeddings ?? config.max_position_embeddings ?? POSITIONS[type];
  const vocabularySize = text.vocab_size ?? config.vocab_size;
  if (!contextLength || !vocabularySize)
    throw new Error('config.json does not say max_position_embeddings and vocab_size');
  return { contextLength, vocabularySize };
}
