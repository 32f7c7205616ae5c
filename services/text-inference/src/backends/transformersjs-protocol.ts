/** Messages between the service's thread and the one that runs transformers.js. Everything in them can be cloned. */

import type { Piece } from '../engine/post-process.ts';
import type { DescribedToken } from '../engine/protocol.ts';
import type { EngineRequest } from '../engine/sequence.ts';

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

/** How likely a completion is behind a prompt. */
export interface ScoreJob {
  prompt: number[];
  completion: number[];
}

/** Requests of one call are the answers to one prompt. `left` is one shared word: not 0 once the caller has gone. A busy thread reads no messages. */
export type ToThread =
  | { type: 'generate'; call: number; requests: EngineRequest[]; left: Int32Array }
  | { type: 'score'; call: number; job: ScoreJob; left: Int32Array }
  | { type: 'close' };

export type FromThread =
  | { type: 'ready'; contextLength: number; vocabularySize: number }
  | { type: 'failed'; message: string }
  | { type: 'event'; call: number; event: JobEvent }
  | { type: 'scored'; call: number; logProbability: number }
  | { type: 'done'; call: number }
  | { type: 'call-failed'; call: number; byConstraint: boolean; message: string };
