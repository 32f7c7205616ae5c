// The model's own tokenizer and chat template, read from its folder.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { AutoTokenizer, env, type PreTrainedTokenizer } from '@huggingface/transformers';
import { guardSpecialTokens } from '@landfall/graph/checkpoint/special-tokens.ts';
import { IMAGE_PLACE } from './example.ts';

/** A turn of a chat. */
export interface Turn {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** A part of a turn, as chat templates take images. */
export type TurnPart = { type: 'image' } | { type: 'text'; text: string };

/** A turn as a chat template takes it: one text, or parts of it. */
export interface TemplateTurn {
  role: Turn['role'];
  content: string | TurnPart[];
}

/** What encoding needs of a tokenizer. */
export interface Tokenizer {
  /** Ids of a prompt that stands by itself, with what the tokenizer puts around it (as a rule the start token). */
  encodePrompt(text: string): number[];
  /** Ids of text that goes on; special tokens that the template wrote count as such. */
  encode(text: string): number[];
  /** The chat as text; throws where the model has no template or the template refuses it. */
  renderChat(turns: readonly TemplateTurn[], addGenerationPrompt: boolean): string;
  /** A row's text made safe: nothing in it is read as a special token, so data can't forge a turn. */
  guard(text: string): string;
  hasChatTemplate: boolean;
  /** Where a text ends: the first one is written behind an answer. */
  endTokens: number[];
  /** Contents of the special tokens. */
  specialTokens: ReadonlySet<string>;
  /** Text with its places for images as the chat template takes it; of a model that reads images. */
  placeImages?(content: string): string | TurnPart[];
}

interface Internals {
  get_added_tokens_decoder(): Map<number, { content: string }>;
}

/**
 * Loads a tokenizer from a local Hugging Face folder; nothing is fetched from elsewhere.
 *
 * @param imageToken of a model that reads images
 * @throws Error naming the file where one is missing or unreadable
 */
export async function loadTokenizer(folder: string, imageToken?: number): Promise<Tokenizer> {
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
    if (!existsSync(path.join(folder, file))) throw new Error(`the model folder has no ${file}`);
  }
  for (const file of ['tokenizer_config.json', 'generation_config.json', 'config.json'])
    checkJson(folder, file);
  env.allowRemoteModels = false;
  env.useFSCache = false;
  const tokenizer = await AutoTokenizer.from_pretrained(path.resolve(folder), { local_files_only: true });
  const inner = (tokenizer as unknown as { _tokenizer: Internals })._tokenizer;

  const added = inner.get_added_tokens_decoder();
  const image = imageToken === undefined ? undefined : added.get(imageToken)?.content;
  if (imageToken !== undefined && !image)
    throw new Error(`tokenizer.json has no added token ${imageToken}, the model's image token`);
  const { contents: specialTokens, guard } = guardSpecialTokens(
    tokenizer,
    ({ special, content }) => special || content === image,
  );
  const template = readTemplate(folder) ?? tokenizer.chat_template ?? undefined;
  const byParts = image !== undefined && rendersParts(tokenizer, template, image);

  return {
    encodePrompt: (text) => tokenizer.encode(text),
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }),
    renderChat: (turns, addGenerationPrompt) => render(tokenizer, template, turns, addGenerationPrompt),
    guard,
    hasChatTemplate: template !== undefined,
    endTokens: endTokens(folder, tokenizer),
    specialTokens,
    ...(image === undefined
      ? {}
      : { placeImages: (content: string) => placed(content.split(IMAGE_PLACE).map(guard), image, byParts) }),
  };
}

const PROBE = 'landfall-part';

/** Whether a chat template takes the parts of a turn one by one, and puts in the image token itself. */
function rendersParts(tokenizer: PreTrainedTokenizer, template: unknown, image: string): boolean {
  try {
    const content: TurnPart[] = [{ type: 'image' }, { type: 'text', text: PROBE }];
    const chat = render(tokenizer, template, [{ role: 'user', content }], true);
    return chat.includes(PROBE) && chat.includes(image);
  } catch {
    return false;
  }
}

/** Texts with an image between each and the next. */
function placed(texts: readonly string[], image: string, byParts: boolean): string | TurnPart[] {
  if (!byParts) return texts.join(image);
  const parts: TurnPart[] = [];
  for (const [i, text] of texts.entries()) {
    if (i > 0) parts.push({ type: 'image' });
    if (text !== '') parts.push({ type: 'text', text });
  }
  return parts;
}

/** transformers.js' own error for a broken file would not name it. */
function checkJson(folder: string, name: string): void {
  const file = path.join(folder, name);
  if (!existsSync(file)) return;
  try {
    JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new Error(`${name} is not JSON`);
  }
}

/** Newer folders keep the template in a file of its own, which transformers.js does not read. */
function readTemplate(folder: string): string | undefined {
  const file = path.join(folder, 'chat_template.jinja');
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function render(
  tokenizer: PreTrainedTokenizer,
  template: unknown,
  turns: readonly TemplateTurn[],
  addGenerationPrompt: boolean,
): string {
  if (template === undefined) throw new Error('the model has no chat template');
  try {
    return tokenizer.apply_chat_template(turns as never, {
      tokenize: false,
      add_generation_prompt: addGenerationPrompt,
      ...(typeof template === 'string' ? { chat_template: template } : {}),
    }) as string;
  } catch (error) {
    throw new Error(`the model's chat template fails: ${error instanceof Error ? error.message : error}`);
  }
}

function endTokens(folder: string, tokenizer: PreTrainedTokenizer): number[] {
  const ids: number[] = [];
  const add = (id: unknown) => {
    if (typeof id === 'number' && !ids.includes(id)) ids.push(id);
  };
  add(tokenizer.eos_token_id);
  for (const name of ['generation_config.json', 'config.json']) {
    const file = path.join(folder, name);
    if (!existsSync(file)) continue;
    const { eos_token_id } = JSON.parse(readFileSync(file, 'utf8')) as { eos_token_id?: unknown };
    for (const id of [eos_token_id].flat()) add(id);
  }
  return ids;
}
