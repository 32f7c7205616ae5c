import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { MoveRequestRow } from '../db/access-entities.ts';
import type { PromptRow } from '../db/entities.ts';
import { findPrompt } from './find.ts';
import { findRequest, moveNotFound } from './move-requests.ts';
import { standingOnPrompt } from './rights.ts';
import { RIGHTS } from './standing.ts';

/** A request, its prompt, and how the caller stands to that. */
export interface FoundRequest {
  row: MoveRequestRow;
  prompt: PromptRow;
  isOwner: boolean;
}

/** @throws LandfallError NOT_FOUND also for a request whose prompt the caller may not know of */
export async function requireRequest(
  em: EntityManager,
  identity: Identity,
  id: string,
): Promise<FoundRequest> {
  const row = await findRequest(em, identity.tenant, id);
  const prompt = await findPrompt(em, identity.tenant, row.name);
  const { level } = await standingOnPrompt(em, identity, prompt);
  if (level === 0) throw moveNotFound(id);
  return { row, prompt, isOwner: level >= RIGHTS.indexOf('owner') };
}
