// The model's own tokenizer and chat template, read from its folder.

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { AutoTokenizer, env, type PreTrainedTokenizer } from '@huggingface/transformers';

/** A turn of a chat. */
export interface Turn {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** What encoding needs of a tokenizer. */
export interface Tokenizer {
  /** Ids of a prompt that stands by itself, with what the tokenizer puts around it (as a rule the start token). */
  encodePrompt(text: string): number[];
  /** Ids of text that goes on; special tokens that the template wrote count as such. */
  encode(text: string): number[];
  /** The chat as text; throws where the model has no template or the template refuses it. */
  renderChat(turns: Turn[], addGenerationPrompt: boolean): string;
  /** A row's text made safe: nothing in it is read as a special token, so data can't forge a turn. */
  guard(text: string): string;
  hasChatTemplate: boolean;
  /** Where a text ends: the first one is written behind an answer. */
  endTokens: number[];
  /** Contents of the special tokens. */
  specialTokens: ReadonlySet<string>;
}

/** A noncharacter that Unicode keeps for use inside a program. */
const MARK = '\ufdd0';

interface Internals {
  pre_tokenizer: ((text: string, options?: object) => string[]) | null;
  get_added_tokens_decoder(): Map<number, { content: string; special: boolean }>;
}

/**
 * Loads a tokenizer from a local Hugging Face folder; nothing is fetched from elsewhere.
 *
 * @throws Error naming the file where one is missing or unreadable
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
    if (!existsSync(path.join(folder, file))) throw new Error(`the model folder has no ${file}`);
  }
  for (const file of ['tokenizer_config.json', 'generation_config.json', 'config.json'])
    checkJson(folder, file);
  env.allowRemoteModels = false;
  env.useFSCache = false;
  const tokenizer = await AutoTokenizer.from_pretrained(path.resolve(folder), { local_files_only: true });
  const inner = (tokenizer as unknown as { _tokenizer: Internals })._tokenizer;

  // transformers.js finds special tokens anywhere in a text before it splits it. `guard` breaks those that a row
  // spells by a mark, which is taken out again between that search and the model's own splitting.
  const split = inner.pre_tokenizer;
  inner.pre_tokenizer = (text, options) => {
    const plain = text.replaceAll(MARK, '');
    return split ? split(plain, options) : [plain];
  };
  const special = [...inner.get_added_tokens_decoder().values()].filter((token) => token.special);
  const specialTokens = new Set(special.map((token) => token.content).filter((content) => content !== ''));
  const pattern = specialTokens.size > 0 ? anyOf([...specialTokens]) : undefined;
  const template = readTemplate(folder) ?? tokenizer.chat_template ?? undefined;

  return {
    encodePrompt: (text) => tokenizer.encode(text),
    encode: (text) => tokenizer.encode(text, { add_special_tokens: false }),
    renderChat: (turns, addGenerationPrompt) => render(tokenizer, template, turns, addGenerationPrompt),
    guard: (text) => {
      const clean = text.replaceAll(MARK, '');
      return pattern ? clean.replace(pattern, `$1${MARK}`) : clean;
    },
    hasChatTemplate: template !== undefined,
    endTokens: endTokens(folder, tokenizer),
    specialTokens,
  };
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

/** Finds the first character of each of these strings; a look-ahead, so that overlapping ones are found too. */
function anyOf(strings: string[]): RegExp {
  const longestFirst = strings.sort((a, b) => b.length - a.length).map((text) => RegExp.escape(text));
  return new RegExp(`(?=(?:${longestFirst.join('|')}))(.)`, 'gsu');
}

/** Newer folders keep the template in a file of its own, which transformers.js does not read. */
function readTemplate(folder: string): string | undefined {
  const file = path.join(folder, 'chat_template.jinja');
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

function render(
  tokenizer: PreTrainedTokenizer,
  template: unknown,
  turns: Turn[],
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
