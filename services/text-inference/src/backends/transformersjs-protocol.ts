/** Messages between the service's thread and the one that runs transformers.js. Everything in them can be cloned. */

import type { Piece } from '../engine/post-process.ts';
import type { DescribedToken } from '../engine/protocol.ts';
import type { EngineRequest } from '../engine/sequence.ts';
import type { ExportedVision } from './transformersjs-families.ts';
import type { PlainTensor } from './transformersjs-looks.ts';

export interface ThreadOptions {
  /** Exported folder in the layout of onnx-community. */
  folder: string;
  /** Threads of the numeric runtime. */
  threads: number;
}

/** One token of an answer, as text. */
export interface JobEvent extends Piece {
  /** Which answer, from 0. */
  index: number;
  logprob?: DescribedToken & { top: DescribedToken[] };
}

/** What is read of the images that stand in a prompt: inputs of the graphs by their names, for one sequence. */
interface Seeing {
  seen?: Record<string, PlainTensor> | undefined;
}

/** How likely a completion is behind a prompt. */
export interface ScoreJob extends Seeing {
  prompt: number[];
  completion: number[];
}

/** The answers to one prompt. */
export interface GenerateJob extends Seeing {
  requests: EngineRequest[];
}

/** `left` is one shared word: not 0 once the caller has gone. A busy thread reads no messages. */
export type ToThread =
  | { type: 'generate'; call: number; job: GenerateJob; left: Int32Array }
  | { type: 'score'; call: number; job: ScoreJob; left: Int32Array }
  | { type: 'close' };

/** What a thread says of its model. */
export interface ExportedShape {
  contextLength: number;
  vocabularySize: number;
  /** Tokens before an answer that is a sequence of its own; undefined where answers stand behind their prompts. */
  answersApart: number | undefined;
  /** How the model reads images, where it reads any. */
  vision: ExportedVision | undefined;
}

export type FromThread =
  | ({ type: 'ready' } & ExportedShape)
  | { type: 'failed'; message: string }
  | { type: 'event'; call: number; event: JobEvent }
  | { type: 'scored'; call: number; logProbability: number }
  | { type: 'done'; call: number }
  | { type: 'call-failed'; call: number; byConstraint: boolean; message: string };
