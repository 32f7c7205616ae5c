import { PromptError, type TextSpan } from './prompt.ts';

/**
 * The tokens that parts of a completion are made of.
 * @param tokens bytes of the completion's tokens; those behind its text end it
 * @returns indices of each span's tokens, one at least
 * @throws PromptError for a span that is empty or lies outside the completion
 */
export function tokensOfSpans(
  completion: string,
  tokens: readonly Uint8Array[],
  spans: readonly TextSpan[],
): number[][] {
  const encoder = new TextEncoder();
  const bytesBefore = (unit: number) => encoder.encode(completion.slice(0, unit)).length;
  const ends: number[] = [];
  let length = 0;
  for (const { length: own } of tokens) {
    length += own;
    ends.push(length);
  }
  // Some tokenizers put a blank before a text.
  const blank = tokens[0]?.[0] === 0x20 && !completion.startsWith(' ') ? 1 : 0;
  return spans.map(({ start, end }, i) => {
    if (start >= end || end > completion.length)
      throw new PromptError(
        `spans[${i}]`,
        `${start} to ${end} is no part of a completion of ${completion.length} UTF-16 units`,
      );
    const [from, to] = [bytesBefore(start) + blank, bytesBefore(end) + blank];
    const own = tokens.flatMap((token, t) => (ends[t]! > from && ends[t]! - token.length < to ? [t] : []));
    // A tokenizer that writes a text in another way than it reads it may leave nothing here: the nearest token stands for it.
    return own.length > 0
      ? own
      : [
          Math.max(
            0,
            Math.min(
              tokens.length - 1,
              ends.findIndex((at) => at > from),
            ),
          ),
        ];
  });
}
