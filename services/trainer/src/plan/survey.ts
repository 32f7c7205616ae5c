import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type JobSpec, TaskType } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TrainerContext } from '../context.ts';
import { memoryLimit } from '../domain/advise.ts';
import { readRows, requireUsable } from '../domain/training-data.ts';
import { tuningOf } from '../domain/tuning.ts';
import type { MethodName } from '../engine/advice/choose-method.ts';
import type { Alternative } from './evidence.ts';

/** What base and data say before anything is trained. */
export interface Survey {
  method: MethodName;
  /** Why this method, for people. */
  reason: string;
  /** Every method with the settings advised for it, without gaps. */
  alternatives: Alternative[];
  /** Most of what is asked is Chinese. */
  chinese: boolean;
}

/** Weighs the methods for a base and a training set. */
export async function survey(
  { registry, config }: TrainerContext,
  spec: JobSpec,
  taskType: TaskType,
  options: CallOptions,
): Promise<Survey> {
  const base = await registry.ready(spec.baseModel, Kind.BASE, 'spec.base_model', options);
  const train = await registry.ready(spec.trainDataset, Kind.DATASET, 'spec.train_dataset', options);
  const tuning = await tuningOf(registry, base, options);
  if ('clip' in tuning.shape)
    throw invalidArgument(
      'spec.base_model',
      `is ${base.ref}, a CLIP; a plan's goals are measured on answers, so align it with CreateJob`,
    );
  const rows = await readRows(registry, train, true, options);
  requireUsable(train.ref, rows);
  const data = tuning.sizeOf(rows.examples);
  const memoryBytes = memoryLimit(config.memoryBytes);
  const understanding = taskType === TaskType.UNDERSTANDING;
  const demand = { understanding, gpus: 0, goal: 'balanced' as const, memoryBytes, threads: config.threads };
  const advice = tuning.advise(data, demand);
  const han = rows.examples.filter(({ question }) => /\p{Script=Han}/u.test(question)).length;
  return {
    method: advice.method,
    reason: advice.reason,
    // Completed as a job's are, so that settings that were tried are known again.
    alternatives: advice.options.map(({ method, config: advised, estimate }) => ({
      method,
      config: tuning.complete(method, advised, data),
      fits: estimate.memoryBytes <= memoryBytes,
    })),
    chinese: han * 2 >= rows.examples.length,
  };
}
