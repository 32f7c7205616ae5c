import type { References } from './bleu.ts';
import { countAll, splitWords } from './text.ts';

// chrF (Popović, 2015) and chrF++ (Popović, 2017) as sacrebleu 2.6 computes them.

/** Settings; sacrebleu's names and defaults. */
export interface ChrfOptions {
  /** Longest character n-gram. Default 6. */
  charOrder?: number;
  /** Longest word n-gram: 0 (default) is chrF, 2 is chrF++. */
  wordOrder?: number;
  /** Weight of recall against precision. Default 2. */
  beta?: number;
  lowercase?: boolean;
  /** Counts white space too. */
  whitespace?: boolean;
  /** Averages F-scores with a small constant for empty orders, as NLTK and Moses do. */
  epsSmoothing?: boolean;
}

/** n-grams of one order: in the hypothesis, in the reference, in both. */
export interface OrderCounts {
  hypothesis: number;
  reference: number;
  match: number;
}

const EPS = 1e-16;

/**
 * Corpus chrF.
 *
 * @param references per row, its references; the one with the best score counts
 * @returns 0 to 100
 * @throws RangeError when rows and references differ in number, or a row has no reference
 */
export function corpusChrf(
  hypotheses: readonly string[],
  references: readonly References[],
  options: ChrfOptions = {},
): number {
  if (hypotheses.length !== references.length) {
    throw new RangeError(`${hypotheses.length} hypotheses but references of ${references.length} rows`);
  }
  const sum: OrderCounts[] = [];
  hypotheses.forEach((hypothesis, row) => {
    chrfStatistics(hypothesis, references[row]!, options, row).forEach((counts, order) => {
      sum[order] ??= { hypothesis: 0, reference: 0, match: 0 };
      sum[order].hypothesis += counts.hypothesis;
      sum[order].reference += counts.reference;
      sum[order].match += counts.match;
    });
  });
  return chrfOf(sum, options);
}

/** chrF of one row, 0 to 100. */
export function sentenceChrf(hypothesis: string, references: References, options: ChrfOptions = {}): number {
  return corpusChrf([hypothesis], [references], options);
}

/** Counts of a row against its best reference. @param row from 0, for the error that names it */
export function chrfStatistics(
  hypothesis: string,
  references: References,
  options: ChrfOptions,
  row: number,
): OrderCounts[] {
  const own = allOrders(hypothesis, options);
  let best: OrderCounts[] = [];
  let bestScore = -1;
  for (const reference of references) {
    if (reference === null || reference === undefined) continue;
    const counts = allOrders(reference, options).map((theirs, order) => compare(own[order]!, theirs));
    const score = chrfOf(counts, options);
    if (score > bestScore) {
      bestScore = score;
      best = counts;
    }
  }
  if (bestScore < 0) throw new RangeError(`row ${row + 1} has no reference`);
  return best;
}

function compare(own: Map<string, number>, theirs: Map<string, number>): OrderCounts {
  let hypothesis = 0;
  let match = 0;
  for (const [ngram, count] of own) {
    hypothesis += count;
    match += Math.min(count, theirs.get(ngram) ?? 0);
  }
  let reference = 0;
  for (const count of theirs.values()) reference += count;
  // An order that the reference is too short for says nothing about precision.
  return { hypothesis: theirs.size > 0 ? hypothesis : 0, reference, match };
}

/** The score of summed counts. */
export function chrfOf(orders: readonly OrderCounts[], options: ChrfOptions): number {
  const factor = (options.beta ?? 2) ** 2;
  let smoothed = 0;
  let precisions = 0;
  let recalls = 0;
  let used = 0;
  for (const { hypothesis, reference, match } of orders) {
    const precision = hypothesis > 0 ? match / hypothesis : EPS;
    const recall = reference > 0 ? match / reference : EPS;
    const denominator = factor * precision + recall;
    smoothed += denominator > 0 ? ((1 + factor) * precision * recall) / denominator : EPS;
    if (hypothesis > 0 && reference > 0) {
      precisions += precision;
      recalls += recall;
      used++;
    }
  }
  if (options.epsSmoothing) return (100 * smoothed) / orders.length;
  if (precisions + recalls === 0) return 0;
  const precision = precisions / used;
  const recall = recalls / used;
  return (100 * (1 + factor) * precision * recall) / (factor * precision + recall);
}

function allOrders(text: string, options: ChrfOptions): Map<string, number>[] {
  const cased = options.lowercase ? text.toLowerCase() : text;
  const chars = [...(options.whitespace ? cased : splitWords(cased).join(''))];
  const orders: Map<string, number>[] = [];
  for (let n = 1; n <= (options.charOrder ?? 6); n++) orders.push(countAll(ngrams(chars, n, '')));
  const wordOrder = options.wordOrder ?? 0;
  const words = wordOrder > 0 ? splitWords(cased).flatMap(splitPunctuation) : [];
  for (let n = 1; n <= wordOrder; n++) orders.push(countAll(ngrams(words, n, ' ')));
  return orders;
}

const PUNCTUATION = new Set('!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~');

/** One mark at the end, or else at the start, becomes a word of its own. */
function splitPunctuation(word: string): string[] {
  const chars = [...word];
  if (chars.length === 1) return [word];
  if (PUNCTUATION.has(chars.at(-1)!)) return [chars.slice(0, -1).join(''), chars.at(-1)!];
  if (PUNCTUATION.has(chars[0]!)) return [chars[0]!, chars.slice(1).join('')];
  return [word];
}

function* ngrams(items: readonly string[], n: number, separator: string): Generator<string> {
  for (let i = 0; i + n <= items.length; i++) yield items.slice(i, i + n).join(separator);
}
