import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import {
  Quantization,
  type ReplicaSettings,
  ReplicaSettingsSchema,
} from '@landfall/proto/landfall/balancer/v1/rollout_pb.js';
import type { RuntimeSettings } from '../runtime/runtime.ts';

export const DEFAULT_RUNTIME = 'child_process';

const NAMES: Record<Quantization, RuntimeSettings['quantization']> = {
  [Quantization.UNSPECIFIED]: '',
  [Quantization.FLOAT32]: 'float32',
  [Quantization.INT8]: 'int8',
  [Quantization.INT4]: 'int4',
};

/**
 * Settings as a text that is the same for the same settings: what tells one replica set of a base from another. Empty
 * where nothing is set, as for replicas of old.
 */
export function variantOf(settings: ReplicaSettings | undefined): string {
  if (!settings) return '';
  const { maxBatch, resources, runtime, quantization } = settings;
  const used = resources && (resources.threads > 0 || resources.memoryMib > 0);
  const plain = create(ReplicaSettingsSchema, {
    maxBatch,
    quantization,
    runtime: runtime === DEFAULT_RUNTIME ? '' : runtime,
    ...(used ? { resources } : {}),
  });
  const text = toJsonString(ReplicaSettingsSchema, plain);
  return text === '{}' ? '' : text;
}

export function settingsOf(variant: string): ReplicaSettings {
  return fromJsonString(ReplicaSettingsSchema, variant || '{}');
}

export const runtimeOf = (variant: string): string => settingsOf(variant).runtime || DEFAULT_RUNTIME;

/** A variant as a runtime takes it. */
export function runtimeSettings(variant: string): RuntimeSettings {
  const { maxBatch, resources, quantization } = settingsOf(variant);
  const { threads = 0, memoryMib = 0 } = resources ?? {};
  return { maxBatch, threads, memoryMib, quantization: NAMES[quantization] };
}
