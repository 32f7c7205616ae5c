import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Special tokens, ids from 0 in this order. */
export const SPECIAL = ['<|pad|>', '<|bos|>', '<|end|>', '<|system|>', '<|user|>', '<|assistant|>'];

/** Splits as GPT-2's byte-level tokenizer does; merges never cross a piece. */
const PIECES = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Printable characters that stand for bytes, as GPT-2 assigns them. */
export function byteAlphabet(): string[] {
  const alphabet: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    alphabet.push(String.fromCodePoint(printable ? byte : next++));
  }
  return alphabet;
}

export interface Bpe {
  vocabulary: Map<string, number>;
  merges: [string, string][];
}

/** Longest token in bytes: two Chinese characters. Longer ones would make sentences of the corpus into single tokens. */
const MAX_TOKEN_BYTES = 6;

/**
 * Byte-pair encoding (Sennrich et al. 2016) over bytes: merges the most frequent pair again and again; ties go to the
 * pair that sorts first, so that the same corpus gives the same tokenizer.
 */
export function trainBpe(texts: Iterable<string>, vocabularySize: number): Bpe {
  const alphabet = byteAlphabet();
  const counts = new Map<string, number>();
  for (const text of texts) {
    for (const [piece] of text.matchAll(PIECES)) {
      const symbols = [...Buffer.from(piece)].map((byte) => alphabet[byte]!).join('');
      counts.set(symbols, (counts.get(symbols) ?? 0) + 1);
    }
  }
  const words = [...counts].map(([symbols, count]) => ({ symbols: [...symbols], count }));
  const vocabulary = new Map<string, number>();
  for (const token of [...SPECIAL, ...alphabet]) vocabulary.set(token, vocabulary.size);
  const merges: [string, string][] = [];

  const pairs = new Map<string, { count: number; words: Set<number> }>();
  const touch = (index: number, sign: 1 | -1) => {
    const { symbols, count } = words[index]!;
    for (let i = 0; i + 1 < symbols.length; i++) {
      if (symbols[i]!.length + symbols[i + 1]!.length > MAX_TOKEN_BYTES) continue;
      const key = `${symbols[i]} ${symbols[i + 1]}`;
      const pair = pairs.get(key) ?? { count: 0, words: new Set() };
      pair.count += sign * count;
      if (sign > 0) pair.words.add(index);
      if (pair.count <= 0) pairs.delete(key);
      else pairs.set(key, pair);
    }
  };
  for (let index = 0; index < words.length; index++) touch(index, 1);
  while (vocabulary.size < vocabularySize && pairs.size > 0) {
    let best = '';
    let bestCount = 0;
    for (const [key, { count }] of pairs) {
      if (count > bestCount || (count === bestCount && key < best)) [best, bestCount] = [key, count];
    }
    if (bestCount < 2) break;
    const [left, right] = best.split(' ') as [string, string];
    merges.push([left, right]);
    vocabulary.set(left + right, vocabulary.size);
    for (const index of pairs.get(best)!.words) {
      touch(index, -1);
      words[index]!.symbols = merge(words[index]!.symbols, left, right);
      touch(index, 1);
    }
    pairs.delete(best);
  }
  return { vocabulary, merges };
}

function merge(symbols: readonly string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(left + right);
      i += 1;
    } else out.push(symbols[i]!);
  }
  return out;
}

const CHAT_TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** Writes tokenizer.json and tokenizer_config.json as Hugging Face's tokenizers read them. */
export function writeTokenizer(folder: string, { vocabulary, merges }: Bpe): void {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const added = SPECIAL.map((content, id) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocabulary),
      merges,
    },
  };
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: '<|bos|>',
    eos_token: '<|end|>',
    pad_token: '<|pad|>',
    additional_special_tokens: SPECIAL.slice(3),
    clean_up_tokenization_spaces: false,
    model_max_length: 512,
    chat_template: CHAT_TEMPLATE,
  };
  writeFileSync(join(folder, 'tokenizer.json'), `${JSON.stringify(tokenizer)}\n`);
  writeFileSync(join(folder, 'tokenizer_config.json'), `${JSON.stringify(config, null, 2)}\n`);
}
