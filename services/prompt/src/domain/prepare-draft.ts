import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { checkDraft, withTurns } from './draft.ts';
import { loadParts } from './load-parts.ts';
import { requireRight } from './rights.ts';

/**
 * A draft as a version may hold it. Whoever puts another prompt in must be allowed to see it; whoever renders the result
 * need not.
 *
 * @param name of its prompt
 * @throws LandfallError as `checkDraft` and `loadParts`
 */
export async function prepareDraft(
  em: EntityManager,
  identity: Identity,
  name: string,
  given: PromptDraft,
): Promise<PromptDraft> {
  const draft = withTurns(given);
  const parts = await loadParts(em, identity.tenant, name, draft);
  for (const part of new Set([...parts.values()].map((one) => one.name))) {
    await requireRight(em, identity, part, 'viewer');
  }
  return checkDraft(draft, parts);
}
