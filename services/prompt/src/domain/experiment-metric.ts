import type { ExperimentMetric } from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';

/** Name of a metric for people and programs: `score quality`, `error_rate`, `latency_ms`, `cost`. */
export function metricName({ kind }: ExperimentMetric): string {
  switch (kind.case) {
    case 'score':
      return `score ${kind.value}`;
    case 'errorRate':
      return 'error_rate';
    case 'latencyMs':
      return 'latency_ms';
    default:
      return 'cost';
  }
}

/** The range of a metric's values: what was asked for, or its kind's. */
export function rangeOf({ kind, minimum, maximum }: ExperimentMetric): { minimum: number; maximum: number } {
  if (minimum !== 0 || maximum !== 0) return { minimum, maximum };
  if (kind.case === 'score' && kind.value === 'quality') return { minimum: 1, maximum: 10 };
  return { minimum: 0, maximum: kind.case === 'latencyMs' ? 60_000 : 1 };
}

/** 1 where more is better, -1 where less is. */
export function direction({ kind, lowerIsBetter }: ExperimentMetric): 1 | -1 {
  return kind.case === 'score' && !lowerIsBetter ? 1 : -1;
}

/** A value's place in the range, 0 to 1; what lies beyond it counts as its nearest end. */
export function placeOf(metric: ExperimentMetric, value: number): number {
  const { minimum, maximum } = rangeOf(metric);
  return Math.min(1, Math.max(0, (value - minimum) / (maximum - minimum)));
}

/** The value at a place of the range. */
export function valueAt(metric: ExperimentMetric, place: number): number {
  const { minimum, maximum } = rangeOf(metric);
  return minimum + place * (maximum - minimum);
}

/** What an invocation shows of a metric; undefined where it shows nothing. Scores come later. */
export function shownBy({ kind }: ExperimentMetric, entry: Invocation): number | undefined {
  // Who leaves says nothing about the answer.
  if (entry.error === 'CANCELLED') return undefined;
  if (kind.case === 'errorRate') return entry.error === '' ? 0 : 1;
  if (entry.error !== '') return undefined;
  if (kind.case === 'latencyMs') return entry.durationMs;
  return kind.case === 'cost' ? entry.cost?.amount : undefined;
}

/** A value for people. */
export function told({ kind }: ExperimentMetric, value: number): string {
  if (kind.case === 'errorRate') return `${(value * 100).toFixed(1)} %`;
  if (kind.case === 'latencyMs') return `${value.toFixed(0)} ms`;
  return String(Number(value.toPrecision(3)));
}
