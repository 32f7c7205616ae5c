import { clone, create } from '@bufbuild/protobuf';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { backgroundCall } from '@landfall/common/rpc/background-call.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { TuningPlan } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import {
  type PreparationOptions,
  PreparationOptionsSchema,
} from '@landfall/proto/landfall/trainer/v1/preparation_pb.js';
import { PrepareDatasetRequestSchema } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { TrainerContext } from '../context.ts';
import { readRows } from '../domain/training-data.ts';
import { prepareDataset } from '../routes/prepare-dataset.ts';

/** Share that is split off, and rows from which a score is more than chance. */
const SHARE = 0.1;
const ENOUGH_ROWS = 20;
const LARGEST_SHARE = 0.3;
/** Nothing is left out or masked; only a validation set is split off. */
const AS_IT_IS = { keepPersonalData: true, keepNearDuplicates: true, keepLengthOutliers: true };

/** Whether a plan's data is worked on before its first round. */
export function needsPreparation({ spec, options }: TuningPlan): boolean {
  return options?.preparation !== undefined || (spec!.evaluation?.dataset ?? '') === '';
}

/**
 * Prepares a plan's training set, and splits its validation set off where none was given.
 *
 * @returns `models:/name/version` of both
 */
export async function preparePlanData(
  service: TrainerContext,
  id: string,
  { spec, options }: TuningPlan,
  identity: Identity,
  signal: AbortSignal,
): Promise<{ train: string; validation: string }> {
  const { trainDataset, evaluation, config } = spec!;
  const preparation: PreparationOptions = options?.preparation
    ? clone(PreparationOptionsSchema, options.preparation)
    : create(PreparationOptionsSchema, AS_IT_IS);
  const given = evaluation?.dataset ?? '';
  if (given === '') {
    preparation.validationShare ||= await shareOf(service, trainDataset, identity, signal);
    preparation.seed ||= config?.seed ?? 0n;
  } else if (!preparation.validationDatasets.includes(given)) {
    // What the goal is measured on must not have been trained on.
    preparation.validationDatasets.push(given);
  }
  const request = create(PrepareDatasetRequestSchema, {
    requestId: `plan-${id}`,
    dataset: trainDataset,
    options: preparation,
  });
  const reply = await prepareDataset(service)(request, backgroundCall(identity, signal));
  const validation = given || (reply.validationDataset ?? '');
  if (validation === '') {
    throw failedPrecondition(`no validation set could be split off ${trainDataset}: it has too few rows`, {
      reason: 'NO_VALIDATION_SET',
    });
  }
  return { train: reply.dataset!, validation };
}

async function shareOf(
  { registry }: TrainerContext,
  dataset: string,
  identity: Identity,
  signal: AbortSignal,
): Promise<number> {
  const options = { identity, signal };
  const version = await registry.ready(dataset, Kind.DATASET, 'spec.train_dataset', options);
  const { examples } = await readRows(registry, version, true, options);
  return Math.min(LARGEST_SHARE, Math.max(SHARE, ENOUGH_ROWS / Math.max(1, examples.length)));
}
