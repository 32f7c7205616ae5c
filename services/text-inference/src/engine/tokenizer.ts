/**
 * The model's own tokenizer and chat template, from its folder. A user's text never becomes a special token: a
 * message that spells `<|end|>` reaches the model as those letters, so nobody forges a turn.
 *
 * transformers.js parses special tokens wherever they stand. So a mark is put inside each one that a user wrote,
 * before the template is rendered; the marked text no longer matches, and the mark is taken out again between the
 * search for special tokens and the model's own splitting.
 */

import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { AutoTokenizer, env, type PreTrainedTokenizer } from '@huggingface/transformers';
import { type ChatMessage, type Encoded, PromptError, type PromptInput } from './prompt.ts';

export interface Tokenizer {
  /** Plain text to ids, with what the tokenizer itself puts around it (as a rule the start token). */
  encodeText(text: string): number[];
  /** A chat to ids through the model's template, ready for the assistant's turn. */
  encodeChat(messages: ChatMessage[]): number[];
  /**
   * A prompt and an answer to it, with the end of the answer's turn, as training joins them: one text where the
   * prompt's ids are the beginning of its ids, else the ids of both parts.
   */
  encodeAnswered(input: PromptInput, completion: string): Encoded;
  /** Ids to text, without special tokens; an incomplete character at the end is U+FFFD. */
  decode(tokens: number[]): string;
  /** One token as the API shows it. */
  describe(token: number): { text: string; bytes: Uint8Array };
  /** Bytes of every token that is plain text, by id; undefined for special tokens and ids without a token. */
  vocabulary(): (Uint8Array | undefined)[];
  /** Where a text ends, by the tokenizer and the folder's generation settings; the first stands behind an answer. */
  endTokens: number[];
  /** Longest token in characters: a text of more than this many per token of context can't fit. */
  longestToken: number;
}

/** A noncharacter that Unicode keeps for use inside a program. */
const MARK = '\ufdd0';

/**
 * Loads tokenizer.json, tokenizer_config.json and the chat template from a local folder; nothing is fetched.
 * @throws Error naming the file where one is missing or unreadable.
 */
export async function loadTokenizer(folder: string): Promise<Tokenizer> {
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
    if (!existsSync(path.join(folder, file))) throw new Error(`the model folder has no ${file}`);
  }
  env.allowRemoteModels = false;
  env.useFSCache = false;
  const tokenizer = await AutoTokenizer.from_pretrained(path.resolve(folder), { local_files_only: true });
  return wrap(tokenizer, readTemplate(folder), endTokens(folder, tokenizer));
}

/** Newer folders keep the template in a file of its own, which transformers.js does not read. */
function readTemplate(folder: string): string | undefined {
  const file = path.join(folder, 'chat_template.jinja');
  return existsSync(file) ? readFileSync(file, 'utf8') : undefined;
}

interface Internals {
  pre_tokenizer: ((text: string, options?: object) => string[]) | null;
  get_added_tokens_decoder(): Map<number, { content: string; special: boolean }>;
  model: { vocab: (string | undefined)[]; unk_token_id?: number };
}

function wrap(tokenizer: PreTrainedTokenizer, template: string | undefined, endTokens: number[]): Tokenizer {
  const inner = (tokenizer as unknown as { _tokenizer: Internals })._tokenizer;
  const split = inner.pre_tokenizer;
  inner.pre_tokenizer = (text, options) => {
    const plain = text.replaceAll(MARK, '');
    return split ? split(plain, options) : [plain];
  };
  const added = [...inner.get_added_tokens_decoder()].map(([id, token]) => ({ ...token, id }));
  const special = added.filter((t) => t.special);
  const vocabulary = inner.model.vocab;
  const specialIds = new Set(tokenizer.all_special_ids.filter((id) => id !== inner.model.unk_token_id));
  const hidden = new Set(tokenizer.all_special_ids);
  const bytesOf = tokenBytes(tokenizer);
  const plainText = new PlainText(special.map((t) => t.content));
  const trusted = alternatives(added.map((t) => t.content));
  const specialContents = new Set(special.map((t) => t.content));

  const count = (ids: number[]) => ids.reduce((n, id) => n + (specialIds.has(id) ? 1 : 0), 0);
  const frame = count(tokenizer.encode(''));

  const encodePlain = (field: string, text: string): number[] => {
    const ids = tokenizer.encode(text);
    if (count(ids) > frame) throw forged(field);
    return ids;
  };
  const encodeRendered = (field: string, text: string): number[] => {
    const ids = tokenizer.encode(text, { add_special_tokens: false });
    const own = trusted ? (text.match(trusted) ?? []).filter((t) => specialContents.has(t)).length : 0;
    if (count(ids) > own) throw forged(field);
    return ids;
  };
  const renderChat = (messages: ChatMessage[]): string => {
    const safe = messages.map((m, i) => ({
      role: m.role,
      content: plainText.check(`messages[${i}].content`, m.content, i === messages.length - 1),
    }));
    return render(tokenizer, safe, template);
  };
  let turnEnd: string | undefined;

  return {
    endTokens,
    longestToken: vocabulary.reduce((most, t) => Math.max(most, t?.length ?? 0), 1),
    encodeText: (text) => encodePlain('prompt', plainText.check('prompt', text)),
    encodeChat: (messages) => encodeRendered('messages', renderChat(messages)),
    encodeAnswered(input, completion) {
      const chat = 'messages' in input;
      const before = chat ? renderChat(input.messages) : plainText.check('prompt', input.text);
      if (chat) turnEnd ??= endOfTurn(tokenizer, template, [...specialContents]);
      const answer = plainText.check('completion', completion, false) + (chat ? turnEnd! : '');
      const prompt = chat ? encodeRendered('messages', before) : encodePlain('prompt', before);
      const whole = chat
        ? encodeRendered('completion', before + answer)
        : encodePlain('completion', before + answer);
      const begins = whole.length > prompt.length && prompt.every((id, i) => whole[i] === id);
      const rest = begins
        ? whole.slice(prompt.length)
        : tokenizer.encode(answer, { add_special_tokens: false });
      const end = endTokens[0];
      const ended = chat && turnEnd !== '';
      if (!ended && end !== undefined && rest.at(-1) !== end) rest.push(end);
      return { prompt, completion: rest };
    },
    decode(tokens) {
      const known = tokens.filter((t) => vocabulary[t] !== undefined && !hidden.has(t));
      return known.length > 0 ? tokenizer.decode(known, { clean_up_tokenization_spaces: false }) : '';
    },
    vocabulary() {
      const special = new Set([...hidden, ...added.filter((t) => t.special).map((t) => t.id)]);
      const contents = new Map(added.map((t) => [t.id, t.content]));
      const encoder = new TextEncoder();
      return Array.from({ length: vocabulary.length }, (_, id) => {
        if (vocabulary[id] === undefined || special.has(id)) return undefined;
        const content = contents.get(id);
        return content === undefined ? bytesOf(id) : encoder.encode(content);
      });
    },
    describe(token) {
      const bytes = bytesOf(token);
      return { text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes), bytes };
    },
  };
}

function render(
  tokenizer: PreTrainedTokenizer,
  messages: ChatMessage[],
  template: string | undefined,
  forAnswer = true,
): string {
  if (!template && !tokenizer.chat_template) {
    throw new PromptError('messages', 'this model has no chat template: give prompt instead of messages');
  }
  try {
    const options = {
      tokenize: false as const,
      add_generation_prompt: forAnswer,
      chat_template: template ?? null,
    };
    return tokenizer.apply_chat_template(messages, options) as string;
  } catch (error) {
    // Templates refuse what they don't know (roles that don't alternate, a system message) by throwing.
    const reason = error instanceof Error ? error.message : String(error);
    throw new PromptError('messages', `the model's chat template refused the messages: ${reason}`);
  }
}

const PROBE = 'landfall-answer';

/** What the chat template writes behind an answer, up to its first special token; later ones are never generated. */
function endOfTurn(
  tokenizer: PreTrainedTokenizer,
  template: string | undefined,
  specials: readonly string[],
): string {
  const turns = [
    { role: 'user', content: '?' },
    { role: 'assistant', content: PROBE },
  ];
  const chat = render(tokenizer, turns, template, false);
  const at = chat.lastIndexOf(PROBE);
  if (at < 0) return '';
  const rest = chat.slice(at + PROBE.length);
  const found = alternatives([...specials])?.exec(rest);
  return found ? rest.slice(0, found.index) + found[0] : '';
}

/** The tokenizer's own first, then those of the folder, which may name several. */
function endTokens(folder: string, tokenizer: PreTrainedTokenizer): number[] {
  const ids = new Set<number>(tokenizer.eos_token_id === undefined ? [] : [tokenizer.eos_token_id]);
  for (const file of ['generation_config.json', 'config.json']) {
    let json: { eos_token_id?: number | number[] | null };
    try {
      json = JSON.parse(readFileSync(path.join(folder, file), 'utf8'));
    } catch {
      continue; // The first is optional, and the second is read by the runner, which says what is wrong with it.
    }
    for (const id of [json.eos_token_id].flat()) if (typeof id === 'number') ids.add(id);
  }
  return [...ids];
}

function forged(field: string): PromptError {
  return new PromptError(field, 'the text would be read as a special token of the model');
}

/** A regular expression that finds these strings, the longest first; undefined when there are none. */
function alternatives(strings: string[]): RegExp | undefined {
  const sorted = strings.filter((s) => s.length > 0).sort((a, b) => b.length - a.length);
  return sorted.length > 0 ? new RegExp(sorted.map((s) => RegExp.escape(s)).join('|'), 'gu') : undefined;
}

/** A user's text with every special token in it broken by a mark. */
class PlainText {
  readonly #anywhere: RegExp | undefined;
  readonly #whole: RegExp | undefined;

  constructor(special: string[]) {
    this.#whole = alternatives(special);
    // A look-ahead finds overlapping ones too.
    this.#anywhere = this.#whole && new RegExp(`(?=(?:${this.#whole.source}))(.)`, 'gsu');
  }

  /** @param required refuse a text that has nothing but special tokens and blanks. */
  check(field: string, text: string, required = true): string {
    const bare = this.#whole ? text.replace(this.#whole, '') : text;
    if (required && bare.trim() === '') {
      throw new PromptError(field, text.trim() === '' ? 'is empty' : 'has nothing but special tokens');
    }
    const clean = text.replaceAll(MARK, '');
    return this.#anywhere ? clean.replace(this.#anywhere, `$1${MARK}`) : clean;
  }
}

/** The bytes that a token stands for, by the kind of decoder the tokenizer has. */
function tokenBytes(tokenizer: PreTrainedTokenizer): (token: number) => Uint8Array {
  const { decoder } = (tokenizer as unknown as { _tokenizerJSON: { decoder?: DecoderJson } })._tokenizerJSON;
  const inner = (tokenizer as unknown as { _tokenizer: Internals })._tokenizer;
  const special = new Set(tokenizer.all_special_ids);
  const kinds = new Set([decoder, ...(decoder?.decoders ?? [])].map((d) => d?.type));
  const encoder = new TextEncoder();
  const byteOf = byteLevelAlphabet();
  return (token) => {
    const text = inner.model.vocab[token] ?? '';
    if (special.has(token)) return encoder.encode(text);
    if (kinds.has('ByteLevel'))
      return Uint8Array.from([...text].flatMap((c) => byteOf.get(c) ?? [...encoder.encode(c)]));
    if (kinds.has('ByteFallback') && /^<0x[0-9A-F]{2}>$/.test(text))
      return Uint8Array.of(Number(text.slice(1, 5)));
    return encoder.encode(text.replaceAll('▁', ' '));
  };
}

interface DecoderJson {
  type?: string;
  decoders?: DecoderJson[];
}

/** GPT-2's printable stand-ins for the 256 bytes. */
function byteLevelAlphabet(): Map<string, number> {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  const alphabet = new Map<string, number>();
  let next = 256;
  for (let b = 0; b < 256; b++) alphabet.set(String.fromCodePoint(printable(b) ? b : next++), b);
  return alphabet;
}
