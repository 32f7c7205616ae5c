import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import type { ModelConfig } from '@landfall/graph/models/config.ts';
import type { LlavaConfig } from '@landfall/graph/models/llava-config.ts';
import { trainableShapes } from '@landfall/graph/training/methods.ts';
import {
  LearningRateSchedule,
  LoraBias,
  type TrainingConfig,
  TrainingConfigSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { MethodName } from '../engine/advice/choose-method.ts';
import {
  advisedEpochs,
  advisedLayers,
  advisedLearningRate,
  advisedWarmup,
  DEFAULTS,
} from '../engine/advice/settings.ts';
import { totalSteps } from '../engine/data/sampler.ts';
import { parseTemplates } from '../engine/data/template.ts';
import { trainableSpec } from './training-spec.ts';

/** What settings are completed and checked for. */
export interface Setting {
  method: MethodName;
  /** Of the decoder. */
  model: ModelConfig;
  /** Of the whole, where the model reads images. */
  llava?: LlavaConfig | undefined;
  /** Usable rows of the training set. */
  rows: number;
  /** The model has a chat template. */
  chat: boolean;
}

/** Settings that belong to some methods alone. */
const OF_METHODS: Record<string, readonly MethodName[]> = {
  rank: ['lora', 'qlora'],
  loraAlpha: ['lora', 'qlora'],
  loraDropout: ['lora', 'qlora'],
  targetModules: ['lora', 'qlora'],
  useRslora: ['lora', 'qlora'],
  loraBias: ['lora', 'qlora'],
  modulesToSave: ['lora', 'qlora'],
  trainableLayers: ['frozen'],
  trainHead: ['frozen'],
  freezeFinalNorm: ['frozen'],
  numVirtualTokens: ['ptuning_v2'],
  prefixProjection: ['ptuning_v2'],
  encoderHiddenSize: ['ptuning_v2'],
  trainProjector: ['lora', 'qlora', 'frozen'],
  towerLayers: ['lora', 'qlora', 'frozen', 'full'],
  freezeTower: ['full'],
};
/** Settings of models that read images. */
const OF_SIGHT = ['trainProjector', 'towerLayers', 'freezeTower'] as const;
/** Settings of a CLIP alone. */
const OF_CLIP = ['textLayers', 'classSampling', 'augmentation', 'keepSides'] as const;

/** The settings that are advised for so many rows. */
export function advisedConfig({ method, model, rows, chat }: Setting): TrainingConfig {
  const { rank, alphaFactor, targetModules, batchSize, maxGradNorm, numVirtualTokens } = DEFAULTS;
  const epochs = advisedEpochs(rows);
  const shape = { rows, epochs, batchSize, gradientAccumulationSteps: 1, seed: 0n };
  const lora = method === 'lora' || method === 'qlora';
  return create(TrainingConfigSchema, {
    ...(lora ? { rank, loraAlpha: rank * alphaFactor, targetModules: [...targetModules] } : {}),
    ...(method === 'frozen' ? { trainableLayers: advisedLayers(model) } : {}),
    ...(method === 'ptuning_v2' ? { numVirtualTokens } : {}),
    learningRate: advisedLearningRate(method, model),
    epochs,
    batchSize,
    gradientAccumulationSteps: 1,
    warmupSteps: advisedWarmup(totalSteps(shape)),
    maxGradNorm,
    maxLength: model.maxPositions - (method === 'ptuning_v2' ? numVirtualTokens : 0),
    instructionTemplates: chat ? ['chat'] : [],
    schedule: LearningRateSchedule.LINEAR,
  });
}

/**
 * The settings of a run, zero values replaced by defaults and checked against method and model.
 *
 * @throws LandfallError INVALID_ARGUMENT naming the field
 */
export function completeConfig(asked: TrainingConfig | undefined, setting: Setting): TrainingConfig {
  const { method, model } = setting;
  const given = asked ?? create(TrainingConfigSchema);
  refuseForeign(given, method);
  checkSight(given, setting);
  const advised = advisedConfig(setting);
  const lora = method === 'lora' || method === 'qlora';
  const rank = given.rank || advised.rank;
  const numVirtualTokens = given.numVirtualTokens || advised.numVirtualTokens;
  const config = create(TrainingConfigSchema, {
    ...given,
    rank,
    loraAlpha: given.loraAlpha || rank * DEFAULTS.alphaFactor,
    targetModules: given.targetModules.length > 0 ? given.targetModules : advised.targetModules,
    loraBias: lora ? given.loraBias || LoraBias.NONE : LoraBias.UNSPECIFIED,
    trainableLayers: given.trainableLayers || advised.trainableLayers,
    numVirtualTokens,
    learningRate: given.learningRate || advised.learningRate,
    epochs: given.epochs || advised.epochs,
    batchSize: given.batchSize || advised.batchSize,
    gradientAccumulationSteps: given.gradientAccumulationSteps || 1,
    maxGradNorm: given.maxGradNorm || advised.maxGradNorm,
    maxLength: given.maxLength || model.maxPositions - numVirtualTokens,
    schedule: given.schedule || LearningRateSchedule.LINEAR,
    gradientCheckpointing: given.gradientCheckpointing || method === 'qlora',
  });
  check(config, setting);
  return config;
}

const field = (name: string, description: string) => invalidArgument(`spec.config.${name}`, description);
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

function refuseForeign(given: TrainingConfig, method: MethodName): void {
  for (const [name, methods] of Object.entries(OF_METHODS)) {
    const value = given[name as keyof TrainingConfig];
    const isSet = Array.isArray(value) ? value.length > 0 : Boolean(value);
    if (isSet && !methods.includes(method))
      throw field(snake(name), `is a setting of ${methods.join(' and ')}; the method is ${method}`);
  }
}

function checkSight(given: TrainingConfig, { method, llava }: Setting): void {
  const clip = OF_CLIP.find((name) => Boolean(given[name]));
  if (clip) throw field(snake(clip), 'is a setting of CLIP models; this one answers');
  const set = OF_SIGHT.find((name) => Boolean(given[name]));
  if (!llava) {
    if (set) throw field(snake(set), 'is a setting of models that read images; this one reads text alone');
    return;
  }
  if (method === 'ptuning_v2')
    throw invalidArgument('spec.method', 'models that read images are tuned by lora, qlora, frozen or full');
  if (method === 'full' && given.towerLayers > 0 && !given.freezeTower)
    throw field('tower_layers', 'goes with freeze_tower: without it the whole tower trains');
  if (given.towerLayers > llava.featureLayer)
    throw field(
      'tower_layers',
      `is ${given.towerLayers}; the model reads ${llava.featureLayer} of its tower`,
    );
}

function check(config: TrainingConfig, { method, model, chat }: Setting): void {
  if (config.numVirtualTokens >= model.maxPositions) {
    throw field(
      'num_virtual_tokens',
      `is ${config.numVirtualTokens}; the model's context holds ${model.maxPositions} tokens, the row's included`,
    );
  }
  if (config.maxLength + config.numVirtualTokens > model.maxPositions) {
    const prefix = config.numVirtualTokens > 0 ? `, ${config.numVirtualTokens} of them virtual` : '';
    throw field(
      'max_length',
      `is ${config.maxLength}; the model's context holds ${model.maxPositions} tokens${prefix}`,
    );
  }
  try {
    trainableShapes(model, trainableSpec(method, config, model));
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    const { message } = error;
    const name = Object.entries({
      modules_to_save: /^modules_to_save/,
      trainable_layers: /layers are to train/,
      train_head: /^the head/,
    }).find(([, pattern]) => pattern.test(message));
    throw field(name?.[0] ?? 'target_modules', message);
  }
  try {
    parseTemplates(config.instructionTemplates, chat);
  } catch (error) {
    throw field('instruction_templates', (error as Error).message);
  }
}
