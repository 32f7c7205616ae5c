import { totalmem } from 'node:os';
import { imageTokenCount } from '@landfall/graph/models/llava.ts';
import type { LlavaConfig } from '@landfall/graph/models/llava-config.ts';
import type { TrainingConfig } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { chooseMethod, METHOD_NAMES, type MethodName } from '../engine/advice/choose-method.ts';
import { type Estimate, estimateRun, type RunPlan } from '../engine/advice/estimate.ts';
import type { Example } from '../engine/data/example.ts';
import type { DecoderShape } from './base-model.ts';
import { advisedConfig } from './spec-defaults.ts';
import { sightSpec, trainableSpec } from './training-spec.ts';

/** What of the data an estimate needs. */
export interface DataSize {
  rows: number;
  /** Mean tokens a row, prompt and answer. */
  tokensPerRow: number;
  /** Tokens of the longest row. */
  longestRow: number;
  /** Mean images a row. */
  imagesPerRow: number;
  /** Of pairs of image and caption: rows by label, and the first row without one (0 where all have one). */
  labels?: ReadonlyMap<string, number>;
  unlabelled?: number;
}

/** Assumed where only a number of rows is given. */
const TYPICAL_TOKENS = 128;
/** A template and special tokens beside question and answer. */
const TEMPLATE_TOKENS = 16;
/** Tokens a character: about one in Chinese, a quarter in English. */
const TOKENS_PER_CHARACTER = { cjk: 0.8, other: 0.3 };

/** Rows of a usual length. */
export const typicalData = (rows: number): DataSize => ({
  rows,
  tokensPerRow: TYPICAL_TOKENS,
  longestRow: 2 * TYPICAL_TOKENS,
  imagesPerRow: 0,
});

/** The size of a data set in tokens, guessed from its characters: its model's tokenizer is not at hand here. */
export function sizeOf(examples: readonly Example[], llava?: LlavaConfig): DataSize {
  const tokensPerImage = llava ? imageTokenCount(llava) : 0;
  let tokens = 0;
  let shown = 0;
  let longestRow = 0;
  for (const { question, answer, messages, images = [] } of examples) {
    const texts = messages?.map(({ content }) => content) ?? [question, answer];
    const seen = images.length * tokensPerImage;
    const row = texts.reduce((sum, text) => sum + guessTokens(text), TEMPLATE_TOKENS + seen);
    shown += images.length;
    tokens += row;
    longestRow = Math.max(longestRow, Math.ceil(row));
  }
  return {
    rows: examples.length,
    tokensPerRow: Math.ceil(tokens / examples.length),
    longestRow,
    imagesPerRow: shown / examples.length,
  };
}

/** A run's plan, from settings without gaps. */
export function runPlan(
  method: MethodName,
  config: TrainingConfig,
  { model, llava }: DecoderShape,
  data: DataSize,
  threads: number,
): RunPlan {
  const sight = sightSpec(method, config, llava);
  return {
    ...(sight && llava ? { sight: { config: llava, spec: sight, imagesPerRow: data.imagesPerRow } } : {}),
    spec: trainableSpec(method, config, model),
    batchSize: config.batchSize,
    epochs: config.epochs,
    rows: data.rows,
    tokensPerRow: Math.min(data.tokensPerRow, config.maxLength),
    longestRow: Math.min(data.longestRow, config.maxLength),
    checkpointing: config.gradientCheckpointing,
    threads,
  };
}

/** Where and how well a run shall be done. */
export interface Demand {
  understanding: boolean;
  gpus: number;
  goal: 'fast' | 'balanced' | 'best';
  memoryBytes: number;
  threads: number;
}

/** A method with its advised settings and what it would take. */
export interface Advised {
  method: MethodName;
  config: TrainingConfig;
  estimate: Estimate;
}

/** The method that is advised, and every one with its estimate. */
export interface Advice {
  method: MethodName;
  reason: string;
  options: Advised[];
}

/** Weighs the methods for a model that answers. */
export function advise(shape: DecoderShape, chat: boolean, data: DataSize, demand: Demand): Advice {
  const { model, llava } = shape;
  const methods = METHOD_NAMES.filter((method) => !llava || method !== 'ptuning_v2');
  const options = methods.map((method) => {
    const config = forGoal(advisedConfig({ method, model, llava, rows: data.rows, chat }), demand.goal);
    return {
      method,
      config,
      estimate: estimateRun(model, runPlan(method, config, shape, data, demand.threads)),
    };
  });
  const needs = Object.fromEntries(options.map(({ method, estimate }) => [method, estimate.memoryBytes]));
  return {
    ...chooseMethod({
      ...demand,
      understanding: demand.understanding && !llava,
      rows: data.rows,
      needs: needs as Record<MethodName, number>,
    }),
    options,
  };
}

/** Memory that a run may use: as configured, else what the machine has. */
export const memoryLimit = (configured: number): number => configured || totalmem();

/** Fewer passes where the cheapest result will do, more where the best is wanted. */
export function forGoal(config: TrainingConfig, goal: Demand['goal']): TrainingConfig {
  if (goal === 'fast') return { ...config, epochs: Math.max(1, Math.round(config.epochs / 2)) };
  if (goal === 'best') return { ...config, epochs: Math.round(config.epochs * 1.5), keepBest: true };
  return config;
}

/** Tokens of a text, guessed from its characters. */
export function guessTokens(text: string): number {
  const cjk = text.match(/[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]/g)?.length ?? 0;
  return cjk * TOKENS_PER_CHARACTER.cjk + (text.length - cjk) * TOKENS_PER_CHARACTER.other;
}
