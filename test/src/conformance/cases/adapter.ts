import type { LoraBias, LoraConfig } from '@landfall/graph/training/lora.ts';
import { UnsupportedCase } from '../outcome.ts';

/** Options of peft's LoraConfig that change the mathematics, with the value at which they don't. */
const NEUTRAL: Record<string, unknown> = {
  lora_dropout: 0,
  use_dora: false,
  lora_bias: false,
  fan_in_fan_out: false,
  layers_to_transform: null,
  layer_replication: null,
  exclude_modules: null,
  target_parameters: null,
  trainable_token_indices: null,
};

/** peft's LoraConfig as the graph library takes it; what it can't do is named. */
export function loraConfig(config: Record<string, unknown>): LoraConfig {
  for (const [name, neutral] of Object.entries(NEUTRAL)) {
    const value = config[name];
    if (value === undefined || value === null || value === neutral) continue;
    throw new UnsupportedCase(`lora with ${name} ${JSON.stringify(value)}`);
  }
  for (const name of ['rank_pattern', 'alpha_pattern']) {
    if (Object.keys((config[name] as object | undefined) ?? {}).length > 0) {
      throw new UnsupportedCase(`lora with ${name}`);
    }
  }
  const targets = config.target_modules;
  if (typeof targets === 'string' && targets !== 'all-linear') {
    throw new UnsupportedCase('lora with a pattern as target_modules');
  }
  return {
    r: config.r as number,
    loraAlpha: config.lora_alpha as number,
    targetModules: [targets].flat() as string[],
    useRslora: config.use_rslora === true,
    bias: (config.bias as LoraBias | undefined) ?? 'none',
    modulesToSave: (config.modules_to_save as string[] | null | undefined) ?? [],
  };
}
