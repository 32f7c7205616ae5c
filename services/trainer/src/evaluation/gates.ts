import type { QualityGate } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { LOWER_IS_BETTER } from './scores.ts';

/** A gate that was missed, for people. */
export function missedGates(
  gates: readonly QualityGate[],
  measured: Readonly<Record<string, number>>,
): string[] {
  return gates.flatMap(({ metric, threshold }) => {
    const value = measured[metric];
    if (value === undefined) return [`${metric} was not measured; the gate asks for ${threshold}`];
    if (meets(metric, value, threshold)) return [];
    const bound = LOWER_IS_BETTER.has(metric) ? 'at most' : 'at least';
    return [`${metric} is ${round(value)}; the gate asks for ${bound} ${threshold}`];
  });
}

/** Whether a metric's value reaches a threshold, in the direction in which it is better. */
export function meets(metric: string, value: number, threshold: number): boolean {
  if (!Number.isFinite(value)) return false;
  return LOWER_IS_BETTER.has(metric) ? value <= threshold : value >= threshold;
}

const round = (value: number) => String(Number(value.toPrecision(4)));
