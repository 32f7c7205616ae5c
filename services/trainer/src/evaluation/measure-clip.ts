import path from 'node:path';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { EvaluationConfig } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { TrainerContext } from '../context.ts';
import { resolveRetrieval } from '../domain/resolve-evaluation.ts';
import { Turns } from '../domain/turns.ts';
import { measureInThread } from '../engine/align/measure-thread.ts';
import { TrainingError } from '../engine/train/errors.ts';
import type { Measurement } from './measure.ts';
import { retrievalResultOf } from './results.ts';

/** Each takes a thread and a model's memory. */
const turns = new Turns({ running: 1, waiting: 16 });

/** Whether a version is a CLIP, by its configuration. */
export async function isClip(
  { registry }: TrainerContext,
  model: Version,
  context: CallContext,
): Promise<boolean> {
  if (model.kind !== Kind.BASE) return false;
  const config = await registry.read(model, 'config.json', { context });
  try {
    return (JSON.parse(config?.toString('utf8') ?? '{}') as { model_type?: unknown }).model_type === 'clip';
  } catch {
    return false;
  }
}

/**
 * Measures how a CLIP finds images and captions of a data set, here and not on replicas; for a caller who waits.
 *
 * @throws LandfallError naming the field
 */
export async function measureClip(
  service: TrainerContext,
  model: Version,
  evaluation: EvaluationConfig,
  context: CallContext,
): Promise<Measurement> {
  const { registry, config } = service;
  const { dataset, classTemplates } = await resolveRetrieval(service, evaluation, { context }, 'evaluation');
  const rows = await registry.ready(dataset, Kind.DATASET, 'evaluation.dataset', { context });
  const modelFolder = await registry.folder(model, { context });
  const datasetFolder = await registry.folder(rows, { context });
  using _turn = await turns.take(context.signal);
  const startMs = Date.now();
  const measured = await measureInThread(
    {
      modelFolder,
      readerFolder: modelFolder,
      datasetFolder,
      weightCacheFolder: path.join(config.home, 'cache', 'weights'),
      classTemplates,
      threads: config.threads,
    },
    context.signal,
  ).catch((error) => {
    throw error instanceof TrainingError ? failedPrecondition(`${model.ref}: ${error.message}`) : error;
  });
  const seconds = (Date.now() - startMs) / 1000;
  const result = retrievalResultOf(measured, { model: model.ref, dataset: rows.ref, seconds });
  return { result, rows: [], ranks: measured.ranks };
}
