import { create } from '@bufbuild/protobuf';
import { type TrainingConfig, TrainingConfigSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import type { MethodName } from '../engine/advice/choose-method.ts';
import type { Finding } from './diagnose.ts';
import type { Alternative, Settings, Situation } from './evidence.ts';
import { moreTemplates } from './templates.ts';

/** What may be done next, from a round's settings. */
export interface Step {
  action: string;
  /** What is changed, for people. */
  change: string;
  method: MethodName;
  config: TrainingConfig;
  /** The data is widened by a served model's paraphrases first. */
  paraphrase: boolean;
}

type Move = (from: Settings, situation: Situation) => Step[];

const MAX_EPOCHS = 200;
const MAX_RANK = 128;
const MAX_VIRTUAL_TOKENS = 128;
const DROPOUT = 0.1;
const PATIENCE = 3;
/** How far a rate may be from the advised one. */
const RATE_RANGE = 16;
/** What is tried when a method comes to its end: each can express more than, or something other than, the one before. */
const OTHERS: Record<MethodName, readonly MethodName[]> = {
  ptuning_v2: ['lora', 'qlora', 'frozen', 'full'],
  qlora: ['lora', 'frozen', 'full', 'ptuning_v2'],
  lora: ['frozen', 'full', 'qlora', 'ptuning_v2'],
  frozen: ['lora', 'full', 'qlora', 'ptuning_v2'],
  full: ['lora', 'frozen', 'qlora', 'ptuning_v2'],
};
const isLora = (method: MethodName) => method === 'lora' || method === 'qlora';
const short = (rate: number) => Number(rate.toPrecision(2));

function advised({ method }: Settings, { alternatives }: Situation): Alternative | undefined {
  return alternatives.find((option) => option.method === method);
}

function step(from: Settings, action: string, change: string, changes: Partial<TrainingConfig>): Step[] {
  const config = create(TrainingConfigSchema, { ...from.config, ...changes });
  return [{ action, change, method: from.method, config, paraphrase: false }];
}

const moreEpochs: Move = (from, situation) => {
  const now = from.config.epochs;
  const usual = advised(from, situation)?.config.epochs ?? now;
  const epochs = Math.min(MAX_EPOCHS, 4 * Math.max(usual, 5), Math.max(2 * now, Math.ceil(usual / 2)));
  if (epochs <= now) return [];
  return step(from, 'more_epochs', `${epochs} epochs instead of ${now}`, { epochs });
};

const fewerEpochs: Move = (from) => {
  const { epochs } = from.config;
  if (epochs < 2) return [];
  const fewer = Math.max(1, Math.floor(epochs / 2));
  return step(from, 'fewer_epochs', `${fewer} epochs instead of ${epochs}`, { epochs: fewer });
};

const higherRate: Move = (from, situation) => {
  const now = from.config.learningRate;
  const usual = advised(from, situation)?.config.learningRate ?? now;
  const rate = now < usual / 2 ? usual : Math.min(now * 3, usual * RATE_RANGE, 1);
  if (rate <= now * 1.01) return [];
  const change = `a learning rate of ${short(rate)} instead of ${short(now)}`;
  return step(from, 'higher_rate', change, { learningRate: short(rate) });
};

const lowerRate: Move = (from, situation) => {
  const now = from.config.learningRate;
  const usual = advised(from, situation)?.config.learningRate ?? now;
  // Far above what is usual, it goes back there at once.
  const rate = now > usual * 3 ? usual : now * 0.3;
  if (rate < usual / RATE_RANGE / 4) return [];
  const change = `a learning rate of ${short(rate)} instead of ${short(now)}`;
  return step(from, 'lower_rate', change, { learningRate: short(rate) });
};

const moreTargets: Move = (from) => {
  const { targetModules } = from.config;
  if (!isLora(from.method) || targetModules.includes('all-linear')) return [];
  const change = `adapters on all linear layers instead of ${targetModules.join(', ')}`;
  return step(from, 'more_targets', change, { targetModules: ['all-linear'] });
};

/** More of what the method trains: rank, virtual tokens, layers. */
const moreCapacity: Move = (from, situation) => {
  const { config, method } = from;
  const usual = advised(from, situation)?.config;
  if (isLora(method)) {
    const rank = Math.min(MAX_RANK, Math.max(config.rank * 2, usual?.rank ?? 0));
    if (rank <= config.rank) return [];
    const loraAlpha = Math.min(4096, (config.loraAlpha / config.rank) * rank);
    return step(from, 'higher_rank', `rank ${rank} instead of ${config.rank}`, { rank, loraAlpha });
  }
  if (method === 'ptuning_v2') {
    const now = config.numVirtualTokens;
    const numVirtualTokens = Math.min(MAX_VIRTUAL_TOKENS, now * 2);
    const maxLength = config.maxLength - (numVirtualTokens - now);
    if (numVirtualTokens <= now || maxLength < now) return [];
    const change = `${numVirtualTokens} virtual tokens instead of ${now}`;
    return step(from, 'more_virtual_tokens', change, { numVirtualTokens, maxLength });
  }
  const layers = Math.min(config.trainableLayers * 2, (usual?.trainableLayers ?? 0) * 3);
  if (method !== 'frozen' || layers <= config.trainableLayers) return [];
  const change = `${layers} trained layers instead of ${config.trainableLayers}`;
  return step(from, 'more_layers', change, { trainableLayers: layers });
};

const lessCapacity: Move = (from) => {
  const { rank, loraAlpha } = from.config;
  if (!isLora(from.method) || rank < 4) return [];
  const half = Math.floor(rank / 2);
  return step(from, 'lower_rank', `rank ${half} instead of ${rank}`, {
    rank: half,
    loraAlpha: (loraAlpha / rank) * half,
  });
};

const keepBest: Move = (from) => {
  if (from.config.keepBest) return [];
  const change = 'the weights of the lowest validation loss are kept, and training stops when it rises';
  return step(from, 'keep_best', change, { keepBest: true, earlyStoppingPatience: PATIENCE });
};

const dropout: Move = (from) => {
  if (!isLora(from.method) || from.config.loraDropout >= DROPOUT) return [];
  return step(from, 'dropout', `a dropout of ${DROPOUT}`, { loraDropout: DROPOUT });
};

const augment: Move = (from, { chinese }) => {
  const now = from.config.instructionTemplates;
  const instructionTemplates = moreTemplates(now, chinese);
  if (instructionTemplates.length <= Math.max(1, now.length)) return [];
  const change = `each question in ${instructionTemplates.length} wordings, by templates`;
  return step(from, 'augment', change, { instructionTemplates });
};

const paraphrase: Move = (from, { canParaphrase }) => {
  if (!canParaphrase) return [];
  const change = 'more rows, their questions paraphrased by the served model';
  return step(from, 'augment', change, {}).map((one) => ({ ...one, paraphrase: true }));
};

const checkpointing: Move = (from) => {
  if (from.config.gradientCheckpointing) return [];
  const change = 'layers are computed again in the backward pass instead of kept';
  return step(from, 'gradient_checkpointing', change, { gradientCheckpointing: true });
};

const smallerBatch: Move = (from) => {
  const { batchSize, gradientAccumulationSteps } = from.config;
  const half = Math.floor(batchSize / 2);
  if (half < 1) return [];
  const accumulation = Math.min(1024, gradientAccumulationSteps * 2);
  return step(
    from,
    'smaller_batch',
    `micro-batches of ${half} rows instead of ${batchSize}, as many a step`,
    {
      batchSize: half,
      gradientAccumulationSteps: accumulation,
    },
  );
};

const quantised: Move = (from) => {
  if (from.method !== 'lora') return [];
  const change = 'qlora instead of lora: the base in 4 bits';
  const [one] = step(from, 'other_method', change, { gradientCheckpointing: true });
  return [{ ...one!, method: 'qlora' }];
};

/** Back to what is advised for the method, when what was asked for can't be had. */
const asAdvised: Move = (from, situation) => {
  const usual = advised(from, situation);
  return usual?.fits ? carry(from, usual, 'advised', `the settings advised for ${from.method}`) : [];
};

const otherMethod: Move = (from, { alternatives }) =>
  OTHERS[from.method].flatMap((method) => {
    const option = alternatives.find((one) => one.method === method && one.fits);
    if (!option) return [];
    return carry(from, option, 'other_method', `${method} instead of ${from.method}, as advised for it`);
  });

/** A method's advised settings with what belongs to the task and not to the method. */
function carry(from: Settings, option: Alternative, action: string, change: string): Step[] {
  const { instructionTemplates, seed, maxLength, batchSize, gradientAccumulationSteps } = from.config;
  const config = create(TrainingConfigSchema, {
    ...option.config,
    instructionTemplates,
    seed,
    maxLength: Math.min(maxLength || option.config.maxLength, option.config.maxLength),
    batchSize,
    gradientAccumulationSteps,
    epochs: Math.max(option.config.epochs, from.config.epochs),
  });
  return [{ action, change, method: option.method, config, paraphrase: false }];
}

const MORE: readonly Move[] = [moreTargets, moreCapacity, moreEpochs, higherRate];
const DATA: readonly Move[] = [augment, paraphrase];
const LESS: readonly Move[] = [keepBest, dropout, fewerEpochs, lowerRate, lessCapacity];

/** What is tried, best chance first. The whole list is long, so that a plan ends for want of budget, not of ideas. */
const MOVES: Record<Finding | 'gates', readonly Move[]> = {
  memory: [checkpointing, smallerBatch, quantised, otherMethod, asAdvised],
  diverged: [lowerRate, asAdvised, ...DATA, moreTargets, moreEpochs, moreCapacity, otherMethod],
  failed: [asAdvised, otherMethod],
  'over-fitting': [
    keepBest,
    ...DATA,
    dropout,
    fewerEpochs,
    lowerRate,
    lessCapacity,
    otherMethod,
    moreTargets,
  ],
  'hardly learning': [higherRate, moreEpochs, moreTargets, moreCapacity, ...DATA, otherMethod, lowerRate],
  'still falling': [moreEpochs, higherRate, moreTargets, moreCapacity, ...DATA, otherMethod, ...LESS],
  plateau: [...MORE, ...DATA, otherMethod, ...LESS],
  gates: [lowerRate, fewerEpochs, keepBest, dropout, lessCapacity, ...DATA, ...MORE, otherMethod],
};

/** Steps from a round's settings, best chance first; repeats are not yet left out. */
export function stepsFrom(finding: Finding | 'gates', from: Settings, situation: Situation): Step[] {
  return [...lagging(finding, from, situation), ...MOVES[finding]].flatMap((move) => move(from, situation));
}

/** What comes first where a run that learns is far from what is advised, so that it is not got to by halves. */
function lagging(finding: Finding | 'gates', from: Settings, situation: Situation): readonly Move[] {
  const usual = advised(from, situation)?.config;
  if (!usual || (finding !== 'plateau' && finding !== 'still falling')) return [];
  // A curve comes to rest where its rate goes to zero; after a few passes that tells nothing of what more would do.
  if (from.config.epochs * 2 > usual.epochs) return [];
  return isLora(from.method) && from.config.rank * 2 <= usual.rank ? [asAdvised, moreEpochs] : [moreEpochs];
}
