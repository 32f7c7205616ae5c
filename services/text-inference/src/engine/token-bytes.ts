import type { PreTrainedTokenizer } from '@huggingface/transformers';

interface DecoderJson {
  type?: string;
  decoders?: DecoderJson[];
}

/** The bytes that a token stands for, by the kind of decoder the tokenizer has. */
export function tokenBytes(tokenizer: PreTrainedTokenizer): (token: number) => Uint8Array {
  const { decoder } = (tokenizer as unknown as { _tokenizerJSON: { decoder?: DecoderJson } })._tokenizerJSON;
  const { model } = (tokenizer as unknown as { _tokenizer: { model: { vocab: (string | undefined)[] } } })
    ._tokenizer;
  const special = new Set(tokenizer.all_special_ids);
  const kinds = new Set([decoder, ...(decoder?.decoders ?? [])].map((d) => d?.type));
  const encoder = new TextEncoder();
  const byteOf = byteLevelAlphabet();
  return (token) => {
    const text = model.vocab[token] ?? '';
    if (special.has(token)) return encoder.encode(text);
    if (kinds.has('ByteLevel'))
      return Uint8Array.from([...text].flatMap((c) => byteOf.get(c) ?? [...encoder.encode(c)]));
    if (kinds.has('ByteFallback') && /^<0x[0-9A-F]{2}>$/.test(text))
      return Uint8Array.of(Number(text.slice(1, 5)));
    return encoder.encode(text.replaceAll('▁', ' '));
  };
}

/** GPT-2's printable stand-ins for the 256 bytes. */
function byteLevelAlphabet(): Map<string, number> {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  const alphabet = new Map<string, number>();
  let next = 256;
  for (let b = 0; b < 256; b++) alphabet.set(String.fromCodePoint(printable(b) ? b : next++), b);
  return alphabet;
}
