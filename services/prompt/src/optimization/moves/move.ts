import type { Random } from '@landfall/metrics/random.ts';
import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { RowsView } from '../task.ts';

/** A row that the parent has answered wrongly. */
export interface Miss {
  test: TestSetRow;
  output: string;
}

/** What a move makes proposals from. */
export interface Setting {
  parent: PromptDraft;
  view: RowsView;
  /** Rows that examples are taken from. */
  examples: readonly TestSetRow[];
  /** What the parent has got wrong among the development rows, the worst first. */
  misses: readonly Miss[];
  /** Of this round and move. */
  random: Random;
  /** From 1. */
  round: number;
}

/** Another version, and why it is worth a try. */
export interface Proposal {
  draft: PromptDraft;
  reason: string;
}

/** Proposals in the order in which they are worth a try. */
export type Move = (setting: Setting) => Iterable<Proposal> | AsyncIterable<Proposal>;
