import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import type { Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { TrainingConfig } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import type { MethodName } from '../engine/advice/choose-method.ts';
import { type Estimate, estimateRun, type Smaller, whatFits } from '../engine/advice/estimate.ts';
import type { CheckedRows } from '../engine/data/check.ts';
import type { Example } from '../engine/data/example.ts';
import { type Advice, advise, type DataSize, type Demand, runPlan, sizeOf, typicalData } from './advise.ts';
import { clipTuning } from './alignment-tuning.ts';
import { type BaseShape, baseShape, type DecoderShape, hasChatTemplate } from './base-model.ts';
import { completeConfig } from './spec-defaults.ts';

/** What is decided of a job before it runs, for a kind of base: one that answers, or a CLIP. */
export interface Tuning {
  readonly shape: BaseShape;
  /** @throws LandfallError FAILED_PRECONDITION naming a row that the base can't learn from */
  requireReadable(train: Version, rows: CheckedRows): void;
  sizeOf(examples: readonly Example[]): DataSize;
  /** So many rows of a usual size. */
  typical(rows: number): DataSize;
  advise(data: DataSize, demand: Demand): Advice;
  /** @throws LandfallError INVALID_ARGUMENT naming the field */
  complete(method: MethodName, given: TrainingConfig | undefined, data: DataSize): TrainingConfig;
  estimate(method: MethodName, config: TrainingConfig, data: DataSize, threads: number): Estimate;
  /** Changes that bring a run under a limit. */
  smaller(
    method: MethodName,
    config: TrainingConfig,
    data: DataSize,
    threads: number,
    limitBytes: number,
  ): Smaller[];
}

/** How a base is tuned, by its files. @throws LandfallError FAILED_PRECONDITION for one that can't be */
export async function tuningOf(
  registry: RegistryGateway,
  base: Version,
  options: CallOptions,
): Promise<Tuning> {
  const shape = await baseShape(registry, base, options);
  if ('clip' in shape) return clipTuning(shape, base);
  return decoderTuning(shape, base, await hasChatTemplate(registry, base, options));
}

function decoderTuning(shape: DecoderShape, base: Version, chat: boolean): Tuning {
  const { model, llava } = shape;
  return {
    shape,
    requireReadable: (train, rows) => requireReadable(train, rows, base, shape, chat),
    sizeOf: (examples) => sizeOf(examples, llava),
    typical: typicalData,
    advise: (data, demand) => advise(shape, chat, data, demand),
    complete: (method, given, { rows }) => completeConfig(given, { method, ...shape, rows, chat }),
    estimate: (method, config, data, threads) =>
      estimateRun(model, runPlan(method, config, shape, data, threads)),
    smaller: (method, config, data, threads, limit) =>
      whatFits(model, runPlan(method, config, shape, data, threads), limit),
  };
}

/** @throws LandfallError FAILED_PRECONDITION naming a row that the base can't be shown */
function requireReadable(
  train: Version,
  { examples }: CheckedRows,
  base: Version,
  { llava }: DecoderShape,
  chat: boolean,
): void {
  const refuse = (row: number, has: string, lacks: string) =>
    failedPrecondition(`${train.ref}: row ${row} ${has}, and ${base.ref} ${lacks}`);
  const pair = examples.find(({ pair }) => pair);
  if (pair) throw refuse(pair.row, 'is an image with its caption', 'is no CLIP: it learns answers');
  const shown = examples.find(({ images }) => images);
  if (shown && !llava) throw refuse(shown.row, 'shows an image', 'reads text alone');
  const turns = examples.find(({ messages, images }) => messages || images);
  if (turns && !chat)
    throw refuse(turns.row, turns.messages ? 'has messages' : 'shows an image', 'has no chat template');
}
