import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { ExperimentMetric } from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import type { StartExperimentRequest } from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { rangeOf } from './experiment-metric.ts';

/**
 * Whether an experiment can say anything.
 * @throws LandfallError INVALID_ARGUMENT for versions that are named twice, an empty range, a margin beyond it, a guard
 *   of the goal's metric
 */
export function checkExperiment({ arms, goal, guards }: StartExperimentRequest): void {
  const versions = new Set<string>();
  for (const [i, { version }] of arms.entries()) {
    if (versions.has(version)) throw invalidArgument(`arms[${i}].version`, `${version} is named twice`);
    versions.add(version);
  }
  checkMetric(goal!, 'goal');
  for (const [i, guard] of guards.entries()) checkMetric(guard, `guards[${i}]`);
}

function checkMetric(metric: ExperimentMetric, field: string): void {
  const { minimum, maximum } = rangeOf(metric);
  if (maximum <= minimum) {
    throw invalidArgument(`${field}.maximum`, `must be above the minimum of ${minimum}`);
  }
  if (metric.margin >= maximum - minimum) {
    throw invalidArgument(
      `${field}.margin`,
      `must be below ${maximum - minimum}, the largest difference that values from ${minimum} to ${maximum} can have`,
    );
  }
}
