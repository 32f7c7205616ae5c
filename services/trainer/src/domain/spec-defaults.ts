import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import type { ModelConfig } from '@landfall/graph/models/config.ts';
import { targetedModules } from '@landfall/graph/training/lora.ts';
import { type TrainingConfig, TrainingConfigSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  advisedEpochs,
  advisedLearningRate,
  advisedWarmup,
  LORA_DEFAULTS,
} from '../engine/advice/settings.ts';
import { totalSteps } from '../engine/data/sampler.ts';
import { parseTemplates } from '../engine/data/template.ts';

/** The settings that are advised for so many rows. */
export function advisedConfig(model: ModelConfig, rows: number, chat: boolean): TrainingConfig {
  const { rank, alphaFactor, targetModules, batchSize, maxGradNorm } = LORA_DEFAULTS;
  const epochs = advisedEpochs(rows);
  const shape = { rows, epochs, batchSize, gradientAccumulationSteps: 1, seed: 0n };
  return create(TrainingConfigSchema, {
    rank,
    loraAlpha: rank * alphaFactor,
    targetModules: [...targetModules],
    learningRate: advisedLearningRate(model.hiddenSize),
    epochs,
    batchSize,
    gradientAccumulationSteps: 1,
    warmupSteps: advisedWarmup(totalSteps(shape)),
    maxGradNorm,
    maxLength: model.maxPositions,
    instructionTemplates: chat ? ['chat'] : [],
  });
}

/**
 * The settings of a run, zero values replaced by defaults and checked against the model.
 *
 * @throws LandfallError INVALID_ARGUMENT naming the field
 */
export function completeConfig(
  asked: TrainingConfig | undefined,
  model: ModelConfig,
  rows: number,
  chat: boolean,
): TrainingConfig {
  const advised = advisedConfig(model, rows, chat);
  const given = asked ?? create(TrainingConfigSchema);
  const rank = given.rank || advised.rank;
  const config = create(TrainingConfigSchema, {
    rank,
    loraAlpha: given.loraAlpha || rank * LORA_DEFAULTS.alphaFactor,
    loraDropout: given.loraDropout,
    targetModules: given.targetModules.length > 0 ? given.targetModules : advised.targetModules,
    learningRate: given.learningRate || advised.learningRate,
    epochs: given.epochs || advised.epochs,
    batchSize: given.batchSize || advised.batchSize,
    gradientAccumulationSteps: given.gradientAccumulationSteps || 1,
    warmupSteps: given.warmupSteps,
    weightDecay: given.weightDecay,
    maxGradNorm: given.maxGradNorm || advised.maxGradNorm,
    seed: given.seed,
    maxLength: given.maxLength || model.maxPositions,
    instructionTemplates: given.instructionTemplates,
    checkpointSteps: given.checkpointSteps,
  });
  check(config, model, chat);
  return config;
}

function check(config: TrainingConfig, model: ModelConfig, chat: boolean): void {
  const field = (name: string, description: string) => invalidArgument(`spec.config.${name}`, description);
  if (config.maxLength > model.maxPositions) {
    throw field(
      'max_length',
      `is ${config.maxLength}; the model's context holds ${model.maxPositions} tokens`,
    );
  }
  if (config.loraDropout > 0) throw field('lora_dropout', 'dropout is not offered yet; leave it 0');
  try {
    targetedModules(model, config.targetModules);
  } catch (error) {
    if (error instanceof CheckpointError) throw field('target_modules', error.message);
    throw error;
  }
  try {
    parseTemplates(config.instructionTemplates, chat);
  } catch (error) {
    throw field('instruction_templates', (error as Error).message);
  }
}
