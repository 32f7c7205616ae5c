import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type NamedTensor, readFloat32, readSafetensorsHeader } from '../src/checkpoint/safetensors.ts';
import type { LoraBias } from '../src/training/lora.ts';
import type { TrainableSpec } from '../src/training/methods.ts';

const golden = process.env.LANDFALL_GOLDEN_DIR ?? '';
if (!existsSync(golden))
  console.info('the small reference cases alone are run; LANDFALL_GOLDEN_DIR names a folder with more');

/** Folders with reference cases: the small ones that stand here, and those that the environment names. */
export const ROOTS = [
  join(import.meta.dirname, 'fixtures', 'reference'),
  ...(existsSync(golden) ? [golden] : []),
];

/** Every case folder that holds a file, as [name, folder]. */
export function casesWith(file: string): [string, string][] {
  return ROOTS.flatMap((root) =>
    readdirSync(root)
      .filter((name) => existsSync(join(root, name, file)))
      .map((name): [string, string] => [`${root === golden ? 'given' : 'small'} ${name}`, join(root, name)]),
  );
}

/** A batch as the cases hold it. */
export interface Batch {
  input_ids: number[][];
  labels: number[][];
  attention_mask: number[][];
}

/** A whole run. */
export interface TrainingCase {
  base: string;
  method: 'lora' | 'full' | 'frozen' | 'ptuning_v2';
  config: Record<string, unknown>;
  optimizer: {
    lr: number;
    weight_decay: number;
    betas: [number, number];
    eps: number;
    warmup_steps: number;
    steps: number;
    gradient_accumulation_steps: number;
    max_grad_norm: number;
  };
  trainable_parameters: number;
  batches: Batch[];
  log: { losses: number[]; lr: number; grad_norm: number }[];
  probe: { batch: Batch; loss: number };
}

export function readCase<T>(folder: string, file: string): T {
  return JSON.parse(readFileSync(join(folder, file), 'utf8')) as T;
}

/** The real tokens of a batch's rows. */
export function sequencesOf({ input_ids, labels, attention_mask }: Batch) {
  return input_ids.map((ids, row) => {
    const length = attention_mask[row]!.lastIndexOf(1) + 1;
    return { ids: ids.slice(0, length), labels: labels[row]!.slice(0, length) };
  });
}

/** Every tensor of a file. */
export function readTensors(file: string): Map<string, NamedTensor> {
  const entries = [...readSafetensorsHeader(file).tensors];
  return new Map(
    entries.map(([name, entry]) => [name, { shape: entry.shape, data: readFloat32(file, entry) }]),
  );
}

/** What a case trains, by our own names. */
export function specOf(
  { method, config }: TrainingCase,
  initial: ReadonlyMap<string, NamedTensor>,
): TrainableSpec {
  if (method === 'lora')
    return {
      method,
      lora: {
        r: config.r as number,
        loraAlpha: config.lora_alpha as number,
        targetModules: [config.target_modules].flat() as string[],
        useRslora: config.use_rslora === true,
        bias: (config.bias as LoraBias | undefined) ?? 'none',
        modulesToSave: (config.modules_to_save as string[] | undefined) ?? [],
      },
    };
  if (method === 'ptuning_v2')
    return {
      method,
      prefix: {
        numVirtualTokens: config.num_virtual_tokens as number,
        prefixProjection: config.prefix_projection === true,
        encoderHiddenSize: initial.get('prompt_encoder.default.transform.0.bias')?.data.length ?? 0,
      },
    };
  if (method === 'frozen')
    return {
      method,
      frozen: {
        trainableLayers: config.trainable_layers as number,
        finalNorm: config.train_final_norm === true,
        head: config.train_lm_head === true,
      },
    };
  return { method };
}
