const CJK = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/gu;

/**
 * About how many tokens a text has, without a tokenizer: a Chinese, Japanese or Korean character is one, four bytes of
 * other text are one.
 */
export function estimateTokens(text: string): number {
  const characters = text.match(CJK)?.join('') ?? '';
  const others = Buffer.byteLength(text) - Buffer.byteLength(characters);
  return [...characters].length + Math.ceil(others / 4);
}
