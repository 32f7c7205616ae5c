/** Chinese, Japanese and Korean characters stand alone; other letters and digits form words; marks are left out. */
const UNITS =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul}|(?:(?!\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Hangul})[\p{L}\p{N}])+/gu;
/** Longer texts are compared up to here, since the work grows with the product of both lengths. */
const MAX_UNITS = 4096;

/** Units that ROUGE-L and distinct-n count: characters where the text is Chinese, lower-case words elsewhere. */
export function unitsOf(text: string): string[] {
  return text.toLowerCase().match(UNITS) ?? [];
}

/**
 * ROUGE-L (Lin 2004): F1 of the longest common subsequence, 0 to 1. Two texts without units are equal.
 */
export function rougeL(output: string, reference: string): number {
  const a = unitsOf(output).slice(0, MAX_UNITS);
  const b = unitsOf(reference).slice(0, MAX_UNITS);
  if (a.length === 0 || b.length === 0) return a.length === b.length ? 1 : 0;
  const common = longestCommon(a, b);
  return (2 * common) / (a.length + b.length);
}

function longestCommon(a: readonly string[], b: readonly string[]): number {
  let before = new Uint16Array(b.length + 1);
  let now = new Uint16Array(b.length + 1);
  for (const unit of a) {
    for (let j = 0; j < b.length; j++) {
      now[j + 1] = unit === b[j] ? before[j]! + 1 : Math.max(before[j + 1]!, now[j]!);
    }
    [before, now] = [now, before];
  }
  return before[b.length]!;
}

/** Different n-grams among all of the outputs', 0 to 1 (Li et al. 2016): low where a model repeats itself. */
export function distinct(outputs: readonly string[], n: number): number {
  const seen = new Set<string>();
  let all = 0;
  for (const output of outputs) {
    const units = unitsOf(output);
    for (let i = 0; i + n <= units.length; i++, all++) seen.add(units.slice(i, i + n).join(' '));
  }
  return all > 0 ? seen.size / all : 0;
}
