import { type BleuOptions, bleuOf, bleuStatistics } from '@landfall/metrics/bleu.ts';
import type { MetricOverRows } from '@landfall/metrics/bootstrap.ts';
import { chrfOf, chrfStatistics } from '@landfall/metrics/chrf.ts';
import type { TokenizerName } from '@landfall/metrics/tokenizers.ts';
import type { EvaluationMetric, TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { metricName } from './metrics.ts';

/** A row as a metric over many sees it. */
export interface MeasuredRow {
  test: TestSetRow;
  output: string;
  scores: Readonly<Record<string, number>>;
}

const ORDER = 4;

/**
 * A metric over any choice of rows: the mean of the rows that it says something about, of BLEU and chrF the score of the
 * corpus. NaN where that is no row.
 */
export function overRows(metric: EvaluationMetric, rows: readonly MeasuredRow[]): MetricOverRows {
  const name = metricName(metric);
  const { kind } = metric;
  if (kind.case === 'code') {
    const { kind: code } = kind.value;
    if (code.case === 'bleu') return bleuOver(rows, (code.value.tokenize || 'zh') as TokenizerName);
    if (code.case === 'chrf') return chrfOver(rows, code.value.wordOrder);
  }
  const values = Float64Array.from(rows, ({ scores }) => scores[name] ?? Number.NaN);
  return (chosen) => {
    let [sum, count] = [0, 0];
    for (const i of chosen) {
      if (Number.isNaN(values[i]!)) continue;
      sum += values[i]!;
      count++;
    }
    return count > 0 ? sum / count : Number.NaN;
  };
}

function bleuOver(rows: readonly MeasuredRow[], tokenize: TokenizerName): MetricOverRows {
  const options: BleuOptions = { tokenize };
  const parts = rows.map(({ test, output }, i) =>
    test.expected.length > 0 ? bleuStatistics(output, test.expected, ORDER, options, i) : undefined,
  );
  return (chosen) => {
    const sum = { sysLen: 0, refLen: 0, counts: [0, 0, 0, 0], totals: [0, 0, 0, 0] };
    let count = 0;
    for (const i of chosen) {
      const own = parts[i];
      if (!own) continue;
      count++;
      sum.sysLen += own.sysLen;
      sum.refLen += own.refLen;
      for (let n = 0; n < ORDER; n++) {
        sum.counts[n]! += own.counts[n]!;
        sum.totals[n]! += own.totals[n]!;
      }
    }
    return count > 0 ? bleuOf(sum, options).score : Number.NaN;
  };
}

function chrfOver(rows: readonly MeasuredRow[], wordOrder: number): MetricOverRows {
  const parts = rows.map(({ test, output }, i) =>
    test.expected.length > 0 ? chrfStatistics(output, test.expected, { wordOrder }, i) : undefined,
  );
  const orders = parts.find((part) => part !== undefined)?.length ?? 0;
  return (chosen) => {
    const sum = Array.from({ length: orders }, () => ({ hypothesis: 0, reference: 0, match: 0 }));
    let count = 0;
    for (const i of chosen) {
      const own = parts[i];
      if (!own) continue;
      count++;
      for (const [order, counts] of own.entries()) {
        const total = sum[order]!;
        total.hypothesis += counts.hypothesis;
        total.reference += counts.reference;
        total.match += counts.match;
      }
    }
    return count > 0 ? chrfOf(sum, { wordOrder }) : Number.NaN;
  };
}

/** Every metric over all rows; those that say nothing about any are left out. */
export function metricsOf(
  metrics: readonly EvaluationMetric[],
  rows: readonly MeasuredRow[],
): Record<string, number> {
  const all = Uint32Array.from(rows, (_, i) => i);
  const values = metrics.map((metric) => [metricName(metric), overRows(metric, rows)(all)] as const);
  return Object.fromEntries(values.filter(([, value]) => !Number.isNaN(value)));
}
