import { create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { CheckpointError } from '@landfall/graph/checkpoint/errors.ts';
import type { ClipConfig } from '@landfall/graph/models/clip-config.ts';
import { CLIP_PROJECTIONS } from '@landfall/graph/training/clip-lora.ts';
import { type ClipSpec, clipTrainable } from '@landfall/graph/training/clip-spec.ts';
import {
  Augmentation,
  ClassSampling,
  ForwardPrecision,
  LearningRateSchedule,
  LoraBias,
  type TrainingConfig,
  TrainingConfigSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  ALIGNMENT_DEFAULTS,
  ALIGNMENT_METHODS,
  type AlignmentMethod,
  alignmentRate,
  isAlignmentMethod,
} from '../engine/advice/align-settings.ts';
import type { MethodName } from '../engine/advice/choose-method.ts';
import { advisedEpochs, advisedWarmup, DEFAULTS } from '../engine/advice/settings.ts';
import type { AlignmentSpec } from '../engine/train/task.ts';

/** What of a data set of pairs settings depend on. */
export interface PairFigures {
  rows: number;
  /** Rows by label. */
  labels: ReadonlyMap<string, number>;
  /** The first row without a label; 0 where all have one. */
  unlabelled: number;
}

/** Settings of some methods alone, and those that no alignment has. */
const OF_METHODS: Record<string, readonly AlignmentMethod[]> = {
  rank: ['lora'],
  loraAlpha: ['lora'],
  targetModules: ['lora'],
  useRslora: ['lora'],
  trainProjector: ['lora'],
  towerLayers: ['frozen'],
  textLayers: ['frozen'],
};
const OF_OTHERS = [
  ...['loraDropout', 'modulesToSave', 'trainableLayers', 'trainHead', 'freezeFinalNorm', 'numVirtualTokens'],
  ...[
    'prefixProjection',
    'encoderHiddenSize',
    'freezeTower',
    'instructionTemplates',
    'gradientCheckpointing',
  ],
] as const;

const field = (name: string, description: string) => invalidArgument(`spec.config.${name}`, description);
const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
const isSet = (value: unknown) => (Array.isArray(value) ? value.length > 0 : Boolean(value));

/** The settings that are advised for such pairs. */
export function advisedAlignment(
  method: AlignmentMethod,
  clip: ClipConfig,
  figures: PairFigures,
): TrainingConfig {
  const { rank, alphaFactor, targetModules, batchSize, maxGradNorm } = ALIGNMENT_DEFAULTS;
  const epochs = advisedEpochs(figures.rows);
  const quarter = (layers: number) => Math.max(1, Math.round(layers * DEFAULTS.layerShare));
  return create(TrainingConfigSchema, {
    ...(method === 'lora'
      ? { rank, loraAlpha: rank * alphaFactor, targetModules: [...targetModules], trainProjector: true }
      : {}),
    ...(method === 'frozen'
      ? { towerLayers: quarter(clip.vision.layers), textLayers: quarter(clip.text.layers) }
      : {}),
    learningRate: alignmentRate(method, clip),
    epochs,
    batchSize,
    gradientAccumulationSteps: 1,
    warmupSteps: advisedWarmup(Math.max(1, Math.floor(figures.rows / batchSize)) * epochs),
    maxGradNorm,
    maxLength: clip.text.maxPositions,
    schedule: LearningRateSchedule.COSINE,
    classSampling: hasScarceClasses(figures) ? ClassSampling.BALANCED : ClassSampling.UNIFORM,
    augmentation: Augmentation.REPEATED,
  });
}

/**
 * The settings of an alignment, zero values replaced by defaults and checked; without any, the advised ones.
 *
 * @throws LandfallError INVALID_ARGUMENT naming the field
 */
export function completeAlignment(
  method: MethodName,
  clip: ClipConfig,
  given: TrainingConfig | undefined,
  figures: PairFigures,
): TrainingConfig {
  if (!isAlignmentMethod(method))
    throw invalidArgument(
      'spec.method',
      `is ${method}; a CLIP is aligned by ${ALIGNMENT_METHODS.join(', ')}`,
    );
  const advised = advisedAlignment(method, clip, figures);
  if (!given) return advised;
  refuseForeign(given, method);
  const rank = given.rank || advised.rank;
  const config = create(TrainingConfigSchema, {
    ...given,
    rank,
    loraAlpha: given.loraAlpha || rank * ALIGNMENT_DEFAULTS.alphaFactor,
    targetModules: given.targetModules.length > 0 ? given.targetModules : advised.targetModules,
    learningRate: given.learningRate || advised.learningRate,
    epochs: given.epochs || advised.epochs,
    batchSize: given.batchSize || advised.batchSize,
    gradientAccumulationSteps: given.gradientAccumulationSteps || 1,
    maxGradNorm: given.maxGradNorm || advised.maxGradNorm,
    maxLength: given.maxLength || advised.maxLength,
    schedule: given.schedule || advised.schedule,
    classSampling: given.classSampling || advised.classSampling,
    augmentation: given.augmentation || advised.augmentation,
  });
  check(config, method, clip, figures);
  return config;
}

/** What of a CLIP trains, from settings without gaps. */
export function alignmentSpec(method: AlignmentMethod, config: TrainingConfig): AlignmentSpec {
  return {
    method: 'align',
    clip: clipSpec(method, config),
    balanced: config.classSampling === ClassSampling.BALANCED,
    augmentation:
      config.augmentation === Augmentation.NONE
        ? 'none'
        : config.augmentation === Augmentation.ALL
          ? 'all'
          : 'repeated',
    keepSides: config.keepSides,
  };
}

function clipSpec(method: AlignmentMethod, config: TrainingConfig): ClipSpec {
  if (method === 'full') return { visionLayers: 'all', textLayers: 'all' };
  if (method === 'frozen') return { visionLayers: config.towerLayers, textLayers: config.textLayers };
  return {
    lora: {
      r: config.rank,
      loraAlpha: config.loraAlpha,
      targetModules: config.targetModules,
      useRslora: config.useRslora,
      modulesToSave: config.trainProjector ? [...CLIP_PROJECTIONS] : [],
    },
  };
}

/** Every row has a label, and one class at least twice the rows of another. */
function hasScarceClasses({ labels, unlabelled }: PairFigures): boolean {
  const counts = [...labels.values()];
  return unlabelled === 0 && counts.length > 1 && Math.max(...counts) >= 2 * Math.min(...counts);
}

function refuseForeign(given: TrainingConfig, method: AlignmentMethod): void {
  for (const [name, methods] of Object.entries(OF_METHODS))
    if (isSet(given[name as keyof TrainingConfig]) && !methods.includes(method))
      throw field(snake(name), `is a setting of ${methods.join(' and ')}; the method is ${method}`);
  const other = OF_OTHERS.find((name) => isSet(given[name]));
  if (other) throw field(snake(other), 'is no setting of a CLIP');
  if (given.loraBias > LoraBias.NONE) throw field('lora_bias', 'is no setting of a CLIP');
  if (given.forwardPrecision === ForwardPrecision.INT8)
    throw field('forward_precision', 'is int8; a CLIP is aligned in float32');
}

function check(
  config: TrainingConfig,
  method: AlignmentMethod,
  clip: ClipConfig,
  { unlabelled }: PairFigures,
): void {
  if (config.batchSize * config.gradientAccumulationSteps < 2)
    throw field('batch_size', 'is 1; a pair is compared with the others of its step, so 2 are the least');
  const { maxPositions } = clip.text;
  if (config.maxLength > maxPositions)
    throw field('max_length', `is ${config.maxLength}; the text tower holds ${maxPositions} tokens`);
  if (config.maxLength < 2) throw field('max_length', 'is 1; begin and end tokens take 2');
  if (config.classSampling === ClassSampling.BALANCED && unlabelled > 0)
    throw field(
      'class_sampling',
      `is balanced, which needs a label in every row; row ${unlabelled} has none`,
    );
  for (const [name, asked, layers] of [
    ['tower_layers', config.towerLayers, clip.vision.layers],
    ['text_layers', config.textLayers, clip.text.layers],
  ] as const)
    if (asked > layers) throw field(name, `is ${asked}; the tower has ${layers}`);
  try {
    clipTrainable(clip, clipSpec(method, config));
  } catch (error) {
    if (!(error instanceof CheckpointError)) throw error;
    throw field('target_modules', error.message);
  }
}
