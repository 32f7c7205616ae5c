import { type BleuStatistics, bleuOf, bleuSignature, bleuStatistics } from '@landfall/metrics/bleu.ts';
import type { MetricOverRows } from '@landfall/metrics/bootstrap.ts';
import { chrfOf, chrfStatistics, type OrderCounts } from '@landfall/metrics/chrf.ts';
import { distinct, rougeL } from '@landfall/metrics/rouge.ts';

/** A row with a model's answer to it, and what was measured of it. */
export interface AnsweredRow {
  /** From 0, in the order of the data set's usable rows. */
  row: number;
  question: string;
  reference: string;
  output: string;
  /** Sentence BLEU, 0 to 100. */
  bleu: number;
  /** ROUGE-L F1, 0 to 1. */
  rougeL: number;
  /** The answer is the reference, white space at both ends aside. */
  exact: boolean;
  /** The judge's mark, 1 to 10; 0 for none. */
  judge: number;
  /** The reference's tokens, its end included, and the sum of their log probabilities; no tokens where not measured. */
  tokens: number;
  logProbability: number;
}

/** Scores of a model on a data set, by the names of the contract. */
export interface Scores {
  bleu: number;
  chrf: number;
  rougeL: number;
  exactMatch: number;
  /** 0 where it was not measured. */
  perplexity: number;
  distinct1: number;
  distinct2: number;
  /** 0 where no judge was asked. */
  judge: number;
  bleuSignature: string;
}

export const BLEU_OPTIONS = { tokenize: 'zh' } as const;
const ORDER = 4;
/** Metrics that are better when lower. */
export const LOWER_IS_BETTER: ReadonlySet<string> = new Set(['perplexity', 'safety_violation_rate']);

/** Scores of answered rows. */
export function score(rows: readonly AnsweredRow[]): Scores {
  const outputs = rows.map(({ output }) => output);
  const all = Uint32Array.from(rows, (_, i) => i);
  const over = metricsOverRows(rows);
  return {
    bleu: over.bleu!(all),
    chrf: over.chrf!(all),
    rougeL: over.rouge_l!(all),
    exactMatch: over.exact_match!(all),
    perplexity: over.perplexity?.(all) ?? 0,
    distinct1: distinct(outputs, 1),
    distinct2: distinct(outputs, 2),
    judge: over.judge?.(all) ?? 0,
    bleuSignature: bleuSignature(BLEU_OPTIONS),
  };
}

/** Metrics over any choice of rows, from what each row adds; only those that were measured. */
export function metricsOverRows(rows: readonly AnsweredRow[]): Record<string, MetricOverRows> {
  const bleu = rows.map(({ output, reference }, i) =>
    bleuStatistics(output, [reference], ORDER, BLEU_OPTIONS, i),
  );
  const chrf = rows.map(({ output, reference }, i) => chrfStatistics(output, [reference], {}, i));
  const mean = (of: (row: AnsweredRow) => number): MetricOverRows => {
    const values = Float64Array.from(rows, of);
    return (chosen) => {
      let sum = 0;
      for (const i of chosen) sum += values[i]!;
      return chosen.length > 0 ? sum / chosen.length : 0;
    };
  };
  return {
    bleu: (chosen) => bleuOf(sumBleu(bleu, chosen), BLEU_OPTIONS).score,
    chrf: (chosen) => chrfOf(sumChrf(chrf, chosen), {}),
    rouge_l: mean((row) => row.rougeL),
    exact_match: mean((row) => (row.exact ? 1 : 0)),
    ...(rows.some(({ tokens }) => tokens > 0) ? { perplexity: perplexityOver(rows) } : {}),
    ...(rows.some(({ judge }) => judge > 0) ? { judge: judgeOver(rows) } : {}),
  };
}

/** exp of the mean cross entropy a token, of the rows that were measured. */
function perplexityOver(rows: readonly AnsweredRow[]): MetricOverRows {
  return (chosen) => {
    let tokens = 0;
    let sum = 0;
    for (const i of chosen) {
      tokens += rows[i]!.tokens;
      sum += rows[i]!.logProbability;
    }
    return tokens > 0 ? Math.exp(-sum / tokens) : 0;
  };
}

/** The mean mark of rows that have one. */
function judgeOver(rows: readonly AnsweredRow[]): MetricOverRows {
  return (chosen) => {
    let marked = 0;
    let sum = 0;
    for (const i of chosen) {
      if (rows[i]!.judge === 0) continue;
      marked++;
      sum += rows[i]!.judge;
    }
    return marked > 0 ? sum / marked : 0;
  };
}

function sumBleu(rows: readonly BleuStatistics[], chosen: Uint32Array): BleuStatistics {
  const sum: BleuStatistics = { sysLen: 0, refLen: 0, counts: [0, 0, 0, 0], totals: [0, 0, 0, 0] };
  for (const i of chosen) {
    const own = rows[i]!;
    sum.sysLen += own.sysLen;
    sum.refLen += own.refLen;
    for (let n = 0; n < ORDER; n++) {
      sum.counts[n]! += own.counts[n]!;
      sum.totals[n]! += own.totals[n]!;
    }
  }
  return sum;
}

function sumChrf(rows: readonly OrderCounts[][], chosen: Uint32Array): OrderCounts[] {
  const sum = (rows[0] ?? []).map(() => ({ hypothesis: 0, reference: 0, match: 0 }));
  for (const i of chosen) {
    for (const [order, counts] of rows[i]!.entries()) {
      const total = sum[order]!;
      total.hypothesis += counts.hypothesis;
      total.reference += counts.reference;
      total.match += counts.match;
    }
  }
  return sum;
}

/** A row with its own measures. */
export function measureRow(row: number, question: string, reference: string, output: string): AnsweredRow {
  const bleu = bleuOf(bleuStatistics(output, [reference], ORDER, BLEU_OPTIONS, row), {
    ...BLEU_OPTIONS,
    effectiveOrder: true,
  }).score;
  return {
    row,
    question,
    reference,
    output,
    bleu,
    rougeL: rougeL(output, reference),
    exact: output.trim() === reference.trim(),
    judge: 0,
    tokens: 0,
    logProbability: 0,
  };
}
