import type { ModelConfig } from '@landfall/graph/models/config.ts';
import type { LlavaConfig } from '@landfall/graph/models/llava-config.ts';
import type { LoraConfig } from '@landfall/graph/training/lora.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import { keyWidth } from '@landfall/graph/training/prefix.ts';
import type { Schedule } from '@landfall/graph/training/schedule.ts';
import type { SightSpec } from '@landfall/graph/training/sight.ts';
import {
  LearningRateSchedule,
  LoraBias,
  Method,
  type TrainingConfig,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { AlignmentMethod } from '../engine/advice/align-settings.ts';
import type { MethodName } from '../engine/advice/choose-method.ts';
import type { RunSpec } from '../engine/train/task.ts';
import { alignmentSpec } from './alignment-config.ts';
import type { BaseShape } from './base-model.ts';

const NAMES: Record<Exclude<Method, Method.UNSPECIFIED>, MethodName> = {
  [Method.LORA]: 'lora',
  [Method.QLORA]: 'qlora',
  [Method.FROZEN]: 'frozen',
  [Method.FULL]: 'full',
  [Method.PTUNING_V2]: 'ptuning_v2',
};

/** peft's name of a method that is given. */
export const methodName = (method: Method): MethodName => NAMES[method as keyof typeof NAMES];

/** The method of that name. */
export function methodOf(name: MethodName): Method {
  return Number(Object.keys(NAMES).find((method) => NAMES[Number(method) as keyof typeof NAMES] === name));
}

const BIASES: Record<LoraBias, NonNullable<LoraConfig['bias']>> = {
  [LoraBias.UNSPECIFIED]: 'none',
  [LoraBias.NONE]: 'none',
  [LoraBias.ALL]: 'all',
  [LoraBias.LORA_ONLY]: 'lora_only',
};

/** What trains, from settings without gaps. */
export function trainableSpec(method: MethodName, config: TrainingConfig, model: ModelConfig): TrainableSpec {
  switch (method) {
    case 'lora':
    case 'qlora':
      return {
        method,
        lora: {
          r: config.rank,
          loraAlpha: config.loraAlpha,
          targetModules: config.targetModules,
          useRslora: config.useRslora,
          loraDropout: config.loraDropout,
          bias: BIASES[config.loraBias],
          modulesToSave: config.modulesToSave,
        },
      };
    case 'ptuning_v2':
      return {
        method,
        prefix: {
          numVirtualTokens: config.numVirtualTokens,
          prefixProjection: config.prefixProjection,
          encoderHiddenSize: config.encoderHiddenSize || keyWidth(model),
        },
      };
    case 'frozen':
      return {
        method,
        frozen: {
          trainableLayers: config.trainableLayers,
          finalNorm: !config.freezeFinalNorm,
          head: config.trainHead,
        },
      };
    case 'full':
      return { method };
  }
}

/** What trains of that which a model sees with; undefined where it reads text alone. */
export function sightSpec(
  method: MethodName,
  { trainProjector, towerLayers, freezeTower }: TrainingConfig,
  llava: LlavaConfig | undefined,
): SightSpec | undefined {
  if (!llava) return undefined;
  if (method === 'full') return { projector: true, towerLayers: freezeTower ? towerLayers : 'all' };
  return { projector: trainProjector, towerLayers };
}

/** What a run over such a base trains, from settings without gaps. */
export function runSpec(
  method: MethodName,
  config: TrainingConfig,
  shape: BaseShape,
): { spec: RunSpec; sight: SightSpec | undefined } {
  if ('clip' in shape) return { spec: alignmentSpec(method as AlignmentMethod, config), sight: undefined };
  const { model, llava } = shape;
  return { spec: trainableSpec(method, config, model), sight: sightSpec(method, config, llava) };
}

/** The schedule by its name; linear where none is given. */
export function scheduleOf({ schedule }: TrainingConfig): Schedule {
  if (schedule === LearningRateSchedule.COSINE) return 'cosine';
  return schedule === LearningRateSchedule.CONSTANT ? 'constant' : 'linear';
}
