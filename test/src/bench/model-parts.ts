/** What random models of the benches are made of. */

export const SPECIAL = ['<|endoftext|>', '<|im_start|>', '<|im_end|>'];
/** ChatML. */
export const CHAT_TEMPLATE =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
/** As transformers begins. */
export const DEVIATION = 0.02;

/** Box and Muller 1958. */
export function normals(count: number, random: () => number): Float32Array {
  const data = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = DEVIATION * Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    data[i] = radius * Math.cos(angle);
    if (i + 1 < count) data[i + 1] = radius * Math.sin(angle);
  }
  return data;
}

const special = (more: readonly string[]) => [
  ...SPECIAL.map((content, id) => ({ content, id })),
  ...more.map((content, i) => ({ content, id: SPECIAL.length + 256 + i })),
];

/** Special tokens, the 256 bytes, more special tokens, and tokens that no text has. */
export function tokenizer(vocabulary: number, more: readonly string[] = []): object {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  const bytes = Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
  const tokens = [...SPECIAL, ...bytes, ...more];
  while (tokens.length < vocabulary) tokens.push(`<unused${tokens.length}>`);
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special(more).map(({ id, content }) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: byteLevel,
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: [],
    },
  };
}
