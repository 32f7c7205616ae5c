import type { ModelConfig } from '../models/config.ts';
import { linearModules } from '../models/transformer.ts';

export const GROUP_KINDS = ['qkv', 'o', 'gate_up', 'down'] as const;
export type GroupKind = (typeof GROUP_KINDS)[number];

const MODULES: Record<GroupKind, readonly string[]> = {
  qkv: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj'],
  o: ['self_attn.o_proj'],
  gate_up: ['mlp.gate_proj', 'mlp.up_proj'],
  down: ['mlp.down_proj'],
};

/** Linear modules of a layer that have the same input: while serving they are one product. */
export interface LinearGroup {
  kind: GroupKind;
  /** Names of its modules within a layer. */
  modules: readonly string[];
  inputs: number;
  /** Of each module. */
  outputs: readonly number[];
  bias: boolean;
}

export function linearGroups(config: ModelConfig): LinearGroup[] {
  const sizes = linearModules(config);
  return GROUP_KINDS.map((kind) => {
    const shapes = MODULES[kind].map((module) => sizes.get(moduleName(0, module))!);
    const bias = kind === 'qkv' ? config.attentionBias : kind === 'o' ? config.outputBias : config.mlpBias;
    return { kind, modules: MODULES[kind], inputs: shapes[0]![1], outputs: shapes.map(([m]) => m), bias };
  });
}

/** `model.layers.0.self_attn.q_proj` of `self_attn.q_proj` */
export function moduleName(layer: number, module: string): string {
  return `model.layers.${layer}.${module}`;
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}
