import { countAll, splitWords, stripEnd } from './text.ts';
import { type TokenizerName, tokenize } from './tokenizers.ts';

// BLEU (Papineni et al., 2002) as sacrebleu 2.6 computes it (Post, 2018), to the last digit that a double holds.

/** Smoothing of empty precisions (Chen and Cherry, 2014): methods 3, 1 and 2, or none. */
export type Smoothing = 'exp' | 'floor' | 'add-k' | 'none';

/** Settings; sacrebleu's names and defaults. */
export interface BleuOptions {
  /** Default `zh`. */
  tokenize?: TokenizerName;
  /** Default `exp`. */
  smoothMethod?: Smoothing;
  /** For `floor` (default 0.1) and `add-k` (default 1). */
  smoothValue?: number;
  /** Default 4. */
  maxNgramOrder?: number;
  /** Leaves out orders that the hypothesis is too short for. Default: false for a corpus, true for a sentence. */
  effectiveOrder?: boolean;
  lowercase?: boolean;
}

/** A score with what it was computed from. */
export interface BleuScore {
  /** 0 to 100. */
  score: number;
  /** Per order, 0 to 100. */
  precisions: number[];
  brevityPenalty: number;
  /** Matched n-grams by order. */
  counts: number[];
  /** n-grams of the hypotheses by order. */
  totals: number[];
  /** Tokens of the hypotheses. */
  sysLen: number;
  /** Tokens of the references, the closest in length for each hypothesis. */
  refLen: number;
}

/** References of one hypothesis; an undefined one is left out, so rows may have different numbers of them. */
export type References = readonly (string | null | undefined)[];

const DEFAULT_ORDER = 4;
const SMOOTH_DEFAULTS: Record<Smoothing, number> = { exp: 0, floor: 0.1, 'add-k': 1, none: 0 };
// sacrebleu's floor under the logarithm: a zero precision makes the score 0 without an infinity on the way.
const LOG_ZERO = -9999999999;

/**
 * Corpus BLEU: n-gram matches summed over all rows, one score.
 *
 * @param hypotheses one text a row
 * @param references per row, its references
 * @throws RangeError when rows and references differ in number, or a row has no reference
 */
export function corpusBleu(
  hypotheses: readonly string[],
  references: readonly References[],
  options: BleuOptions = {},
): BleuScore {
  if (hypotheses.length !== references.length) {
    throw new RangeError(`${hypotheses.length} hypotheses but references of ${references.length} rows`);
  }
  const order = options.maxNgramOrder ?? DEFAULT_ORDER;
  const sum: BleuStatistics = { sysLen: 0, refLen: 0, counts: zeros(order), totals: zeros(order) };
  hypotheses.forEach((hypothesis, row) => {
    const own = bleuStatistics(hypothesis, references[row]!, order, options, row);
    sum.sysLen += own.sysLen;
    sum.refLen += own.refLen;
    for (let n = 0; n < order; n++) {
      sum.counts[n]! += own.counts[n]!;
      sum.totals[n]! += own.totals[n]!;
    }
  });
  return bleuOf(sum, options);
}

/**
 * BLEU of one row, with effective order unless told otherwise, as sacrebleu's `sentence_bleu`.
 *
 * @throws RangeError when there is no reference
 */
export function sentenceBleu(
  hypothesis: string,
  references: References,
  options: BleuOptions = {},
): BleuScore {
  return corpusBleu([hypothesis], [references], { effectiveOrder: true, ...options });
}

/** sacrebleu's signature of a score, by which another run can be told comparable. */
export function bleuSignature(options: BleuOptions = {}, referencesPerRow = 1): string {
  const smooth = options.smoothMethod ?? 'exp';
  const value = options.smoothValue ?? SMOOTH_DEFAULTS[smooth];
  const bracket = smooth === 'floor' || smooth === 'add-k' ? `[${value.toFixed(2)}]` : '';
  return [
    `nrefs:${referencesPerRow}`,
    `case:${options.lowercase ? 'lc' : 'mixed'}`,
    `eff:${options.effectiveOrder ? 'yes' : 'no'}`,
    `tok:${options.tokenize ?? 'zh'}`,
    `smooth:${smooth}${bracket}`,
    'version:2.6.0',
  ].join('|');
}

/** What a row adds to a corpus' score. */
export interface BleuStatistics {
  sysLen: number;
  refLen: number;
  counts: number[];
  totals: number[];
}

/** @param row from 0, for the error that names it */
export function bleuStatistics(
  hypothesis: string,
  references: References,
  order: number,
  options: BleuOptions,
  row: number,
): BleuStatistics {
  const words = tokensOf(hypothesis, options);
  const referenceWords = references
    .filter((text): text is string => text !== null && text !== undefined)
    .map((text) => tokensOf(text, options));
  if (referenceWords.length === 0) throw new RangeError(`row ${row + 1} has no reference`);
  const counts = zeros(order);
  const totals = zeros(order);
  for (let n = 1; n <= order; n++) {
    // A hypothesis n-gram counts at most as often as in the reference that has it most.
    const allowed = new Map<string, number>();
    for (const reference of referenceWords) {
      for (const [ngram, count] of countAll(ngrams(reference, n))) {
        allowed.set(ngram, Math.max(allowed.get(ngram) ?? 0, count));
      }
    }
    for (const [ngram, count] of countAll(ngrams(words, n))) {
      totals[n - 1]! += count;
      counts[n - 1]! += Math.min(count, allowed.get(ngram) ?? 0);
    }
  }
  const refLen = closestLength(
    words.length,
    referenceWords.map((reference) => reference.length),
  );
  return { sysLen: words.length, refLen, counts, totals };
}

/** The score of summed statistics. */
export function bleuOf({ sysLen, refLen, counts, totals }: BleuStatistics, options: BleuOptions): BleuScore {
  const order = counts.length;
  const smooth = options.smoothMethod ?? 'exp';
  const value = options.smoothValue ?? SMOOTH_DEFAULTS[smooth];
  const precisions = zeros(order);
  const shortness = sysLen > 0 ? Math.exp(1 - refLen / sysLen) : 0;
  const brevityPenalty = sysLen < refLen ? shortness : 1;
  const result = { precisions, brevityPenalty, counts, totals, sysLen, refLen };
  if (counts.every((count) => count === 0)) return { score: 0, ...result };

  let halving = 1;
  let usedOrder = order;
  for (let n = 0; n < order; n++) {
    if (smooth === 'add-k' && n > 0) {
      counts[n]! += value;
      totals[n]! += value;
    }
    const total = totals[n]!;
    if (total === 0) break;
    if (options.effectiveOrder) usedOrder = n + 1;
    if (counts[n]! > 0) precisions[n] = (100 * counts[n]!) / total;
    else if (smooth === 'exp') {
      halving *= 2;
      precisions[n] = 100 / (halving * total);
    } else if (smooth === 'floor') precisions[n] = (100 * value) / total;
  }
  const logs = precisions.slice(0, usedOrder).map((p) => (p === 0 ? LOG_ZERO : Math.log(p)));
  const mean = logs.reduce((sum, log) => sum + log, 0) / usedOrder;
  return { score: brevityPenalty * Math.exp(mean), ...result };
}

function tokensOf(text: string, options: BleuOptions): string[] {
  const cased = options.lowercase ? text.toLowerCase() : text;
  return splitWords(tokenize(options.tokenize ?? 'zh', stripEnd(cased)));
}

function* ngrams(words: readonly string[], n: number): Generator<string> {
  // Words hold no blanks, so a blank between them keeps different n-grams apart.
  for (let i = 0; i + n <= words.length; i++) yield words.slice(i, i + n).join(' ');
}

/** The closest length, and of two equally close the shorter. */
function closestLength(length: number, candidates: readonly number[]): number {
  return candidates.reduce((best, candidate) => {
    const difference = Math.abs(length - candidate) - Math.abs(length - best);
    return difference < 0 || (difference === 0 && candidate < best) ? candidate : best;
  });
}

function zeros(length: number): number[] {
  return new Array<number>(length).fill(0);
}
