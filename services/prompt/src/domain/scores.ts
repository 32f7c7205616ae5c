import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { ScoreSchema } from '../db/entities.ts';
import { observeScore } from './experiment-observer.ts';

/** A judgement that is to be kept. */
export interface NewScore {
  name: string;
  value: number;
  reason: string;
}

/** @throws LandfallError INVALID_ARGUMENT for a `quality` that is no school mark of 1 to 10 */
export function checkScore(name: string, value: number, field: string): void {
  if (name === 'quality' && (value < 1 || value > 10)) {
    throw invalidArgument(field, 'a quality score lies between 1 and 10');
  }
}

/** Keeps a score, in place of the author's earlier one of that name; a running experiment learns from it. */
export async function attachScore(
  em: EntityManager,
  tenant: string,
  entry: Invocation,
  { name, value, reason }: NewScore,
  author: string,
): Promise<void> {
  await observeScore(em, entry, { name, value });
  const { id: invocationId, name: prompt } = entry;
  const score = { invocationId, name, author, tenant, prompt, value, reason, createdMs: Date.now() };
  await em.upsert(ScoreSchema, score);
}
