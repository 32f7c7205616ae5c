import { totalmem } from 'node:os';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { Method, TaskType } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { RecommendMethodRequest } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route, TrainerContext } from '../context.ts';
import { hasChatTemplate, modelConfig } from '../domain/base-model.ts';
import { advisedConfig } from '../domain/spec-defaults.ts';
import { readRows, requireUsable } from '../domain/training-data.ts';
import { chooseMethod, type MethodName } from '../engine/advice/choose-method.ts';
import { estimateLora } from '../engine/advice/estimate.ts';

const METHODS: Record<MethodName, Method> = {
  lora: Method.LORA,
  qlora: Method.QLORA,
  frozen: Method.FROZEN,
  full: Method.FULL,
  ptuning_v2: Method.PTUNING_V2,
};
/** Assumed where only a number of rows is given. */
const TYPICAL_TOKENS = 128;
/** A template and special tokens beside question and answer. */
const TEMPLATE_TOKENS = 16;
/** Tokens a character: about one in Chinese, a quarter in English. */
const TOKENS_PER_CHARACTER = { cjk: 0.8, other: 0.3 };

export const recommendMethod: Route<'recommendMethod'> = (service) => async (request, context) => {
  const base = await service.registry.ready(request.baseModel, Kind.BASE, 'base_model', { context });
  const model = await modelConfig(service.registry, base, { context });
  const data = await measureData(service, request, context);
  const chat = await hasChatTemplate(service.registry, base, { context });
  const config = advisedConfig(model, data.rows, chat);
  const tokensPerRow = Math.min(data.tokensPerRow, model.maxPositions);
  const { rank, targetModules, batchSize, epochs } = config;
  const estimate = estimateLora(model, {
    rank,
    targetModules,
    batchSize,
    epochs,
    rows: data.rows,
    tokensPerRow,
    threads: service.config.threads,
  });
  const { method, reason } = chooseMethod({
    rows: data.rows,
    understanding: request.taskType === TaskType.UNDERSTANDING,
    gpus: request.gpus,
    memoryBytes: Number(request.memoryBytes) || service.config.memoryBytes || totalmem(),
    loraMemoryBytes: estimate.memoryBytes,
  });
  const offered =
    method === 'lora' ? '' : '. Jobs of this method are not offered yet; settings and estimate are LoRA’s';
  return {
    method: METHODS[method],
    config,
    reason: `${reason}${offered}`,
    rows: BigInt(data.rows),
    estimatedMemoryBytes: BigInt(estimate.memoryBytes),
    estimatedSeconds: estimate.seconds,
    trainableParameters: BigInt(estimate.trainableParameters),
    totalParameters: BigInt(estimate.totalParameters),
  };
};

async function measureData(
  { registry }: TrainerContext,
  request: RecommendMethodRequest,
  context: CallContext,
): Promise<{ rows: number; tokensPerRow: number }> {
  if (request.dataset === '') {
    if (request.rows === 0n) throw invalidArgument('rows', 'give dataset, or the number of rows');
    return { rows: Number(request.rows), tokensPerRow: TYPICAL_TOKENS };
  }
  const dataset = await registry.ready(request.dataset, Kind.DATASET, 'dataset', { context });
  const checked = await readRows(registry, dataset, true, { context });
  requireUsable(dataset.ref, checked);
  let tokens = 0;
  for (const { question, answer } of checked.examples) tokens += guessTokens(question) + guessTokens(answer);
  const rows = checked.examples.length;
  return { rows, tokensPerRow: Math.ceil(tokens / rows) + TEMPLATE_TOKENS };
}

function guessTokens(text: string): number {
  const cjk = text.match(/[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]/g)?.length ?? 0;
  return cjk * TOKENS_PER_CHARACTER.cjk + (text.length - cjk) * TOKENS_PER_CHARACTER.other;
}
