import { clone, create } from '@bufbuild/protobuf';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import {
  EvaluationConfigSchema,
  type JobSpec,
  JobSpecSchema,
  Method,
  type TaskType,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { type PlanRound, PlanRoundSchema } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import type { TrainerContext } from '../context.ts';
import { type ResolvedSpec, resolveSpec } from '../domain/resolve-spec.ts';
import { methodOf } from '../domain/training-spec.ts';
import { survey } from './survey.ts';

/** The first round: its job without gaps, and why it is so. */
export interface FirstRound {
  resolved: ResolvedSpec;
  round: PlanRound;
}

/**
 * Chooses the method where none was asked for, and completes the settings.
 *
 * @param unprepared the training set is prepared later, and may be what a validation set is split off from
 * @throws LandfallError as CreateJob does
 */
export async function chooseFirst(
  service: TrainerContext,
  spec: JobSpec,
  taskType: TaskType,
  options: CallOptions,
  { unprepared = false } = {},
): Promise<FirstRound> {
  const seen = await survey(service, spec, taskType, options);
  const asked = spec.method !== Method.UNSPECIFIED;
  const method = asked ? spec.method : methodOf(seen.method);
  const resolved = await resolveSpec(service, create(JobSpecSchema, { ...spec, method }), options, {
    unprepared,
  });
  const { config, trainDataset } = resolved.spec;
  const configured = spec.config ? 'the settings as asked' : 'the settings as advised';
  const round = create(PlanRoundSchema, {
    number: 1,
    method,
    config: config!,
    trainDataset,
    action: 'first',
    reason: `${asked ? 'the method was asked for' : seen.reason}; ${configured}`,
  });
  return { resolved, round };
}

/** A specification that can be checked before its validation set is split off: the training set stands in for it. */
export function withStandIn(spec: JobSpec): JobSpec {
  const checked = clone(JobSpecSchema, spec);
  checked.evaluation ??= create(EvaluationConfigSchema);
  checked.evaluation.dataset ||= spec.trainDataset;
  return checked;
}
