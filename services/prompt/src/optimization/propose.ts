import { LandfallError } from '@landfall/common/errors/errors.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { type Optimization, OptimizationMove } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { checkDraft, draftDigest } from '../domain/draft.ts';
import type { Parts } from '../domain/parts.ts';
import { examples } from './moves/examples.ts';
import { format } from './moves/format.ts';
import { instructions, type Rewriter } from './moves/instruction.ts';
import type { Miss, Move, Proposal } from './moves/move.ts';
import { structure } from './moves/structure.ts';
import { partsOf } from './parts.ts';
import type { Candidate, Proposed } from './search.ts';
import { viewRows } from './task.ts';

/** What a round's proposals are made from. */
export interface Round {
  optimization: Pick<Optimization, 'moves' | 'seed'>;
  round: number;
  /** The best tries so far, the best first. */
  from: readonly Candidate[];
  /** Other prompts that the drafts put in. */
  parts: Parts;
  /** Rows that the search may see. */
  seen: readonly TestSetRow[];
  examples: readonly TestSetRow[];
  misses(of: Candidate): Promise<Miss[]>;
  rewrite: Rewriter;
}

/** Proposals of all moves in turn, the best try's first. */
export async function* proposals(round: Round): AsyncGenerator<Proposed> {
  const { optimization, from, seen, rewrite } = round;
  const { moves, seed } = optimization;
  for (const parent of from) {
    const view = viewRows(seen, partsOf(parent.draft).instruction);
    const misses = await round.misses(parent);
    const open = moves.map((move) => {
      const random = randomOf(seed, 'propose', round.round, parent.number, move);
      const setting = {
        parent: parent.draft,
        view,
        examples: round.examples,
        misses,
        random,
        round: round.round,
      };
      const named: Rewriter = (about, question) => rewrite(`${parent.number}:${about}`, question);
      return { move, next: iterate(moveOf(move, named)(setting)) };
    });
    while (open.length > 0) {
      for (const one of [...open]) {
        const { value, done } = await one.next();
        if (done) {
          open.splice(open.indexOf(one), 1);
          continue;
        }
        const { reason } = value;
        const draft = valid(value.draft, round.parts);
        if (!draft) continue;
        yield { parent: parent.number, move: one.move, reason, draft, digest: draftDigest(draft) };
      }
    }
  }
}

/** A draft as a version holds it; undefined for one that could not be a version, such as with an example that does not fit. */
function valid(draft: PromptDraft, parts: Parts): PromptDraft | undefined {
  try {
    return checkDraft(draft, parts);
  } catch (error) {
    if (error instanceof LandfallError) return undefined;
    throw error;
  }
}

function moveOf(move: OptimizationMove, rewrite: Rewriter): Move {
  switch (move) {
    case OptimizationMove.INSTRUCTION:
      return instructions(rewrite);
    case OptimizationMove.EXAMPLES:
      return examples;
    case OptimizationMove.FORMAT:
      return format;
    default:
      return structure;
  }
}

function iterate(proposed: ReturnType<Move>): () => Promise<IteratorResult<Proposal>> {
  const iterator =
    Symbol.asyncIterator in proposed ? proposed[Symbol.asyncIterator]() : proposed[Symbol.iterator]();
  return async () => iterator.next();
}
