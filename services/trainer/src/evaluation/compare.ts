import type { MetricOverRows } from '@landfall/metrics/bootstrap.ts';
import type { RetrievalRanks } from '../engine/align/retrieval.ts';
import type { Measurement } from './measure.ts';
import { metricsOverRows } from './scores.ts';

/** A metric of two versions over the same rows, images or texts. */
export interface ComparedMetric {
  metric: string;
  /** What is drawn anew: answered rows, or a CLIP's different images or texts. */
  rows: number;
  first: MetricOverRows;
  second: MetricOverRows;
}

/** What two versions have in common, by the names that gates and versions use; nothing of a CLIP and one that answers. */
export function comparedMetrics(first: Measurement, second: Measurement): ComparedMetric[] {
  const [a, b] = [first, second].map(overRows) as [Overall, Overall];
  return Object.entries(a).flatMap(([metric, { rows, over }]) =>
    metric in b ? [{ metric, rows, first: over, second: b[metric]!.over }] : [],
  );
}

/** By the name of a metric. */
type Overall = Record<string, { rows: number; over: MetricOverRows }>;

function overRows({ ranks, rows }: Measurement): Overall {
  if (ranks) return overQueries(ranks);
  const metrics = Object.entries(metricsOverRows(rows));
  return Object.fromEntries(metrics.map(([metric, over]) => [metric, { rows: rows.length, over }]));
}

/** A CLIP's metrics over any choice of its queries, the candidates staying the same. */
function overQueries({ images, texts, labels }: RetrievalRanks): Overall {
  const found: Overall = {};
  const add = (metric: string, ranks: readonly number[], k: number) => {
    const over = (chosen: Uint32Array) => {
      let within = 0;
      for (const i of chosen) if (ranks[i]! < k) within++;
      return within / chosen.length;
    };
    found[metric] = { rows: ranks.length, over };
  };
  for (const k of [1, 5, 10]) add(`image_to_text_recall_at_${k}`, images, k);
  for (const k of [1, 5, 10]) add(`text_to_image_recall_at_${k}`, texts, k);
  if (labels.length > 0) add('zero_shot_accuracy', labels, 1);
  return found;
}
