import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { Method, TaskType } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  MethodOptionSchema,
  QualityGoal,
  type RecommendMethodRequest,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route, TrainerContext } from '../context.ts';
import { type Advised, type DataSize, memoryLimit } from '../domain/advise.ts';
import { readRows, requireUsable } from '../domain/training-data.ts';
import { methodName, methodOf } from '../domain/training-spec.ts';
import { type Tuning, tuningOf } from '../domain/tuning.ts';

const GOALS = {
  [QualityGoal.UNSPECIFIED]: 'balanced',
  [QualityGoal.FAST]: 'fast',
  [QualityGoal.BALANCED]: 'balanced',
  [QualityGoal.BEST]: 'best',
} as const;

export const recommendMethod: Route<'recommendMethod'> = (service) => async (request, context) => {
  const base = await service.registry.ready(request.baseModel, Kind.BASE, 'base_model', { context });
  const tuning = await tuningOf(service.registry, base, { context });
  const data = await measureData(service, request, tuning, context);
  const memoryBytes = Number(request.memoryBytes) || memoryLimit(service.config.memoryBytes);
  const advice = tuning.advise(data, {
    understanding: request.taskType === TaskType.UNDERSTANDING,
    gpus: request.gpus,
    goal: GOALS[request.qualityGoal],
    memoryBytes,
    threads: service.config.threads,
  });
  const asked = request.method !== Method.UNSPECIFIED;
  const method = asked ? methodName(request.method) : advice.method;
  const option = advice.options.find((one) => one.method === method);
  if (!option) throw invalidArgument('method', `${method} is not for models of this kind`);
  const { config, estimate } = option;
  const other = advice.method === method ? '' : `; ${advice.method} is advised: ${advice.reason}`;
  return {
    method: methodOf(method),
    config,
    reason: asked ? `${method} was asked for${other}` : advice.reason,
    rows: BigInt(data.rows),
    estimatedMemoryBytes: BigInt(estimate.memoryBytes),
    estimatedSeconds: estimate.seconds,
    trainableParameters: BigInt(estimate.trainableParameters),
    totalParameters: BigInt(estimate.totalParameters),
    options: advice.options.map((option) => toOption(option, memoryBytes)),
  };
};

const NOTES: Record<Advised['method'], string> = {
  lora: 'low-rank adapters beside the base; many are served over one base',
  qlora: 'LoRA over a base in 4 bits: the least memory, somewhat slower',
  ptuning_v2: 'trained keys and values in front of every layer; the fewest parameters',
  frozen: 'the top layers train; the result is a model of its own',
  full: 'all parameters train; wants many rows, and the result is a model of its own',
};

function toOption({ method, estimate }: Advised, memoryBytes: number) {
  const fits = estimate.memoryBytes <= memoryBytes;
  return create(MethodOptionSchema, {
    method: methodOf(method),
    fits,
    estimatedMemoryBytes: BigInt(estimate.memoryBytes),
    estimatedSeconds: estimate.seconds,
    trainableParameters: BigInt(estimate.trainableParameters),
    note: fits ? NOTES[method] : `${NOTES[method]}; does not fit the memory`,
  });
}

async function measureData(
  { registry }: TrainerContext,
  request: RecommendMethodRequest,
  tuning: Tuning,
  context: CallContext,
): Promise<DataSize> {
  if (request.dataset === '') {
    if (request.rows === 0n) throw invalidArgument('rows', 'give dataset, or the number of rows');
    return tuning.typical(Number(request.rows));
  }
  const dataset = await registry.ready(request.dataset, Kind.DATASET, 'dataset', { context });
  const checked = await readRows(registry, dataset, true, { context });
  requireUsable(dataset.ref, checked);
  // Pairs and answers are measured by other figures.
  if ('clip' in tuning.shape || checked.examples.some(({ pair }) => pair))
    tuning.requireReadable(dataset, checked);
  return tuning.sizeOf(checked.examples);
}
