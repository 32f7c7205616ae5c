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
import { ChatTemplate } from './chat-template.ts';
import {
  expandImages,
  IMAGE_PLACE,
  placedImages,
  rendersParts,
  type TemplateMessage,
} from './image-places.ts';
import { alternatives, forged, MARK, PlainText } from './plain-text.ts';
import {
  type ChatMessage,
  type Encoded,
  type ImageGrid,
  type ImageText,
  PromptError,
  type PromptForm,
  type PromptInput,
} from './prompt.ts';
import { onlyText, taskPrompt } from './prompt-forms.ts';
import { tokenBytes } from './token-bytes.ts';

export interface Tokenizer {
  /**
   * A prompt's ids: plain text with what the tokenizer itself puts around it (as a rule the start token), or a chat through
   * the model's template, ready for the assistant's turn.
   * @param seen what stands in the place of each image, in their order, where that differs from image to image
   */
  encode(input: PromptInput, seen?: readonly string[]): Encoded;
  /**
   * A prompt and an answer to it, with the end of the answer's turn, as training joins them: one text where the
   * prompt's ids are the beginning of its ids, else the ids of both parts.
   */
  encodeAnswered(input: PromptInput, completion: string, seen?: readonly string[]): Encoded;
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

/**
 * Loads tokenizer.json, tokenizer_config.json and the chat template from a local folder; nothing is fetched.
 * @param images how images stand among the tokens, where the model reads any
 * @throws Error naming the file where one is missing or unreadable.
 */
export async function loadTokenizer(folder: string, images?: ImageGrid | ImageText): Promise<Tokenizer> {
  for (const file of ['tokenizer.json', 'tokenizer_config.json']) {
    if (!existsSync(path.join(folder, file))) throw new Error(`the model folder has no ${file}`);
  }
  env.allowRemoteModels = false;
  env.useFSCache = false;
  const tokenizer = await AutoTokenizer.from_pretrained(path.resolve(folder), { local_files_only: true });
  return wrap(tokenizer, new ChatTemplate(tokenizer, folder), endTokens(folder, tokenizer), images);
}

interface Internals {
  pre_tokenizer: ((text: string, options?: object) => string[]) | null;
  get_added_tokens_decoder(): Map<number, { content: string; special: boolean }>;
  model: { vocab: (string | undefined)[]; unk_token_id?: number };
}

function wrap(
  tokenizer: PreTrainedTokenizer,
  template: ChatTemplate,
  endTokens: number[],
  reading: ImageGrid | ImageText | undefined,
): Tokenizer {
  const inner = (tokenizer as unknown as { _tokenizer: Internals })._tokenizer;
  const split = inner.pre_tokenizer;
  inner.pre_tokenizer = (text, options) => {
    const plain = text.replaceAll(MARK, '');
    return split ? split(plain, options) : [plain];
  };
  const form: PromptForm = reading && 'form' in reading ? reading.form : { kind: 'chat' };
  const imageToken = reading?.token;
  const added = [...inner.get_added_tokens_decoder()].map(([id, token]) => ({ ...token, id }));
  const image = added.find((t) => t.id === imageToken)?.content;
  if (imageToken !== undefined && !image)
    throw new Error(`tokenizer.json has no added token ${imageToken}, the model's image token`);
  const isSpoken = spokenTokens(tokenizer, form);
  const spoken = new Set(added.filter((t) => isSpoken(t.content)).map((t) => t.id));
  const special = added.filter((t) => (t.special || t.content === image) && !spoken.has(t.id));
  const vocabulary = inner.model.vocab;
  const hidden = new Set(tokenizer.all_special_ids.filter((id) => !spoken.has(id)));
  const specialIds = new Set([...hidden].filter((id) => id !== inner.model.unk_token_id));
  if (imageToken !== undefined) specialIds.add(imageToken);
  const bytesOf = tokenBytes(tokenizer);
  const plainText = new PlainText(special.map((t) => t.content));
  const trusted = alternatives(added.map((t) => t.content));
  const specialContents = new Set(special.map((t) => t.content));

  const count = (ids: number[]) => ids.reduce((n, id) => n + (specialIds.has(id) ? 1 : 0), 0);
  const frame = count(tokenizer.encode(''));
  const encodeAlone = (text: string) => tokenizer.encode(text, { add_special_tokens: false });

  /** @param framed whether the tokenizer itself puts special tokens around the text */
  const idsOf = (field: string, text: string, framed: boolean): number[] => {
    const ids = framed ? tokenizer.encode(text) : encodeAlone(text);
    const own = trusted && !framed ? (text.match(trusted) ?? []).filter((t) => specialContents.has(t)) : [];
    if (count(ids) > (framed ? frame : own.length)) throw forged(field);
    return ids;
  };
  let byParts: boolean | undefined;
  const takesParts = () => {
    byParts ??= image !== undefined && rendersParts((probe) => template.render(probe), image);
    return byParts;
  };
  const renderChat = (messages: ChatMessage[]): string => {
    const safe = messages.map(({ role, content, images = 0 }, i): TemplateMessage => {
      const field = `messages[${i}].content`;
      const last = i === messages.length - 1;
      if (!image) return { role, content: plainText.check(field, content, last) };
      const clean = (text: string) => plainText.check(field, text, false);
      if (last && images === 0) plainText.check(field, content);
      return { role, content: placedImages({ field, content, images }, image, clean, takesParts()) };
    });
    return template.render(safe);
  };
  const rendered = (input: PromptInput): { field: string; text: string; framed: boolean } => {
    if (form.kind !== 'chat') {
      const { field, text, images } = onlyText(input);
      const words = form.kind === 'task' ? taskPrompt(form, text) : text;
      const clean = plainText.check(field, words);
      if (form.kind === 'task') return { field, text: clean, framed: true };
      return { field, text: `${image!.repeat(images)}${tokenizer.bos_token ?? ''}${clean}\n`, framed: false };
    }
    if ('messages' in input) return { field: 'messages', text: renderChat(input.messages), framed: false };
    if (image && input.text.includes(IMAGE_PLACE))
      throw new PromptError(
        'prompt',
        `has a place for an image (${IMAGE_PLACE}) and brings none: give messages`,
      );
    return { field: 'prompt', text: plainText.check('prompt', input.text), framed: true };
  };
  const wholePrompt = (
    input: PromptInput,
    ids: number[],
    seen: readonly string[],
  ): Omit<Encoded, 'completion'> => {
    if (!reading || imageToken === undefined) return { prompt: ids, images: [] };
    if (!('count' in reading)) return expandImages(ids, seen.map(encodeAlone), imageToken);
    const images = 'messages' in input ? input.messages.reduce((n, m) => n + (m.images ?? 0), 0) : 0;
    const each = new Array<number>(reading.count).fill(imageToken);
    return expandImages(ids, new Array<number[]>(images).fill(each), imageToken);
  };
  let turnEnd: string | undefined;

  return {
    endTokens,
    longestToken: vocabulary.reduce((most, t) => Math.max(most, t?.length ?? 0), 1),
    encode(input, seen = []) {
      const { field, text, framed } = rendered(input);
      return { ...wholePrompt(input, idsOf(field, text, framed), seen), completion: [] };
    },
    encodeAnswered(input, completion, seen = []) {
      const chat = form.kind === 'chat' && 'messages' in input;
      const { field, text: before, framed } = rendered(input);
      if (chat) turnEnd ??= template.endOfTurn([...specialContents], takesParts());
      const answer = plainText.check('completion', completion, false) + (chat ? turnEnd! : '');
      const prompt = idsOf(field, before, framed);
      const whole = idsOf('completion', before + answer, framed);
      // Where texts and answers are sequences of their own, neither is the other's beginning.
      const joined = form.kind !== 'task' && whole.length > prompt.length;
      const begins = joined && prompt.every((id, i) => whole[i] === id);
      const rest = begins ? whole.slice(prompt.length) : encodeAlone(answer);
      const end = endTokens[0];
      const ended = chat && turnEnd !== '';
      if (!ended && end !== undefined && rest.at(-1) !== end) rest.push(end);
      return { ...wholePrompt(input, prompt, seen), completion: rest };
    },
    decode(tokens) {
      const known = tokens.filter((t) => vocabulary[t] !== undefined && !hidden.has(t));
      return known.length > 0 ? tokenizer.decode(known, { clean_up_tokenization_spaces: false }) : '';
    },
    vocabulary() {
      const without = new Set([...hidden, ...special.map((t) => t.id)]);
      const contents = new Map(added.map((t) => [t.id, t.content]));
      const encoder = new TextEncoder();
      return Array.from({ length: vocabulary.length }, (_, id) => {
        if (vocabulary[id] === undefined || without.has(id)) return undefined;
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

/**
 * Which of the added tokens are words of the model's language, whatever the tokenizer calls them: places in an image and parts
 * of it, that callers and models write.
 */
function spokenTokens(tokenizer: PreTrainedTokenizer, form: PromptForm): (content: string) => boolean {
  if (form.kind === 'chat') return () => false;
  if (form.kind === 'prefix') return (content) => /^<(loc|seg)\d+>$/.test(content);
  const { bos_token, eos_token, pad_token, unk_token, mask_token, sep_token } = tokenizer;
  const marks = new Set([bos_token, eos_token, pad_token, unk_token, mask_token, sep_token]);
  return (content) => !marks.has(content);
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
