/** A Hugging Face folder made for tests: byte-level tokenizer, chat template, random LLaMA weights from a seed. */

import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export const TINY = {
  hidden: 32,
  intermediate: 64,
  layers: 2,
  heads: 4,
  keyValueHeads: 2,
  headSize: 8,
  vocabulary: 272,
  context: 128,
};

export const SPECIAL = ['<pad>', '<s>', '</s>', '<|user|>', '<|assistant|>', '<|system|>', '<|end|>'];
export const EOS = SPECIAL.indexOf('<|end|>');

const TEMPLATE =
  "{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/** Mulberry32: small, good enough for weights. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function byteAlphabet(): string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

/** Writes tokenizer.json, tokenizer_config.json; with `ownFile` the template is in chat_template.jinja. */
export function writeTokenizer(folder: string, options: { ownFile?: boolean } = {}): void {
  mkdirSync(folder, { recursive: true });
  const vocab: Record<string, number> = {};
  for (const [i, token] of [...SPECIAL, ...byteAlphabet()].entries()) vocab[token] = i;
  // One merge, over the first two bytes of 高, so that tokens cut characters.
  const [a, b] = [...new TextEncoder().encode('高')].map((x) => byteAlphabet()[x]!);
  vocab[`${a}${b}`] = SPECIAL.length + 256;
  const added = SPECIAL.map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  }));
  const json = {
    version: '1.0',
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [],
      special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      unk_token: null,
      byte_fallback: false,
      fuse_unk: false,
      vocab,
      merges: [`${a} ${b}`],
    },
  };
  writeFileSync(path.join(folder, 'tokenizer.json'), JSON.stringify(json));
  const config = {
    tokenizer_class: 'PreTrainedTokenizerFast',
    bos_token: '<s>',
    eos_token: '<|end|>',
    pad_token: '<pad>',
    model_max_length: TINY.context,
    ...(options.ownFile ? {} : { chat_template: TEMPLATE }),
  };
  writeFileSync(path.join(folder, 'tokenizer_config.json'), JSON.stringify(config));
  if (options.ownFile) writeFileSync(path.join(folder, 'chat_template.jinja'), TEMPLATE);
}
