import { openLlava } from '@landfall/graph/checkpoint/vision.ts';
import type { TrainableSpec } from '@landfall/graph/training/methods.ts';
import type { Sequence } from '@landfall/graph/training/packing.ts';
import type { Tokenizer } from '@landfall/trainer/engine/data/tokenizer.ts';
import { answerOf, PROMPTS } from './answer.ts';
import type { Sample } from './sample.ts';
import { pixelsOf } from './tower-graph.ts';

/** Tokens of the longest sequence: the image's, the question's, an answer of three defects. */
export const MAX_LENGTH = 368;
/** Of the decoder all trains. */
export const SPEC: TrainableSpec = { method: 'full' };

export interface DecoderOptions {
  samples: string;
  /** Samples of a step, over all workers. */
  batch: number;
  /** The model's folder as training found it. */
  folder: string;
  /** Steps in which no sample has more than one defect: where to look is learnt before in which order. */
  single: number;
  /** Whether the tower trains too, and goes on learning from masks. */
  tower: boolean;
  seed: number;
}

/** What of a model's sight trains: the projector always. */
export const sightOf = (folder: string, tower: boolean) =>
  ({ checkpoint: openLlava(folder), projector: true, towerLayers: tower ? 'all' : 0 }) as const;

let image = 0;

/** A sample as a question and its answer; the answer alone carries loss. */
export function sequenceOf(sample: Sample, language: keyof typeof PROMPTS, tokenizer: Tokenizer): Sequence {
  const turns = [{ role: 'user' as const, content: PROMPTS[language] }];
  const asked = tokenizer.encode(tokenizer.renderChat(turns, true));
  const answered = [...tokenizer.encode(answerOf(sample.targets)), tokenizer.endTokens[0]!];
  return {
    ids: [...asked, ...answered],
    labels: [...asked.map(() => -100), ...answered],
    // Each way of turning a sample is another image.
    images: [{ key: String(image++), pixels: () => pixelsOf([sample]) }],
  };
}
