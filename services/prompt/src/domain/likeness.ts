const WORDS = /[\p{L}\p{N}]+/gu;
const CJK = /([\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]+)/u;

/** Saturation of a term that occurs often, and weight of a text's length (Robertson and Zaragoza 2009). */
const K1 = 1.2;
const B = 0.75;

/**
 * Terms of a text: words in lower case; of Chinese, Japanese and Korean, which have no spaces, pairs of characters, and a
 * single character where it stands alone.
 */
export function termsOf(text: string): string[] {
  const terms: string[] = [];
  for (const [word] of text.normalize('NFKC').toLowerCase().matchAll(WORDS)) {
    for (const part of word.split(CJK)) {
      if (part === '') continue;
      if (!CJK.test(part)) {
        terms.push(part);
        continue;
      }
      const characters = [...part];
      if (characters.length === 1) terms.push(part);
      for (let i = 1; i < characters.length; i++) terms.push(characters[i - 1]! + characters[i]!);
    }
  }
  return terms;
}

/** BM25 over a fixed list of texts. */
export class LikenessIndex {
  /** By term: positions of texts and how often each has it. */
  readonly #postings = new Map<string, Map<number, number>>();
  readonly #lengths: number[];
  readonly #average: number;

  constructor(texts: readonly string[]) {
    this.#lengths = texts.map((text, i) => {
      const terms = termsOf(text);
      for (const term of terms) {
        const posting = this.#postings.get(term) ?? new Map<number, number>();
        this.#postings.set(term, posting.set(i, (posting.get(i) ?? 0) + 1));
      }
      return terms.length;
    });
    this.#average = this.#lengths.reduce((sum, length) => sum + length, 0) / (texts.length || 1) || 1;
  }

  /** Positions of all texts, the likest first; those that share nothing with the query come last, in their order. */
  rank(query: string): number[] {
    const scores = new Array<number>(this.#lengths.length).fill(0);
    for (const term of new Set(termsOf(query))) {
      const posting = this.#postings.get(term);
      if (!posting) continue;
      const rarity = Math.log(1 + (scores.length - posting.size + 0.5) / (posting.size + 0.5));
      for (const [i, count] of posting) {
        const long = 1 - B + (B * this.#lengths[i]!) / this.#average;
        scores[i]! += (rarity * count * (K1 + 1)) / (count + K1 * long);
      }
    }
    return scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b);
  }
}
