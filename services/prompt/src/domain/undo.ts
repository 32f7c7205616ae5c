import type { EntityManager } from '@landfall/common/db/database.ts';
import { aborted, failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { LabelMoveKind } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { type LabelHistoryRow, LabelHistorySchema } from '../db/access-entities.ts';
import type { PromptRow } from '../db/entities.ts';
import { labelOf, moveLabel, protectedLabel } from './label-moves.ts';
import { demandOf } from './protections.ts';
import { standingOnPrompt } from './rights.ts';
import { RIGHTS } from './standing.ts';
import { lockPrompt } from './versions.ts';

/**
 * Takes the last move of a label back that is not undone yet.
 * @param revision the label's revision that the caller has seen; 0 for whatever it is
 * @throws LandfallError FAILED_PRECONDITION where nothing can be undone or the label is protected, ABORTED where it has
 *   moved since
 */
export async function undo(
  em: EntityManager,
  identity: Identity,
  prompt: PromptRow,
  { label, revision, reason }: { label: string; revision: number; reason: string },
): Promise<LabelHistoryRow> {
  await lockPrompt(em, prompt);
  const now = await labelOf(em, prompt, label);
  if (now && revision > 0 && now.revision !== revision) {
    throw aborted(`'${label}' has moved since: it is at revision ${now.revision}, not ${revision}`, {
      reason: 'LABEL_MOVED',
    });
  }
  const last = now ? await undoable(em, prompt, label) : undefined;
  if (!last) {
    throw failedPrecondition(
      `'${label}' of prompts/${prompt.name} has no move to undo: where it pointed before is not known`,
      { reason: 'NOTHING_TO_UNDO' },
    );
  }
  const demand = await demandOf(em, prompt, label);
  if (demand) {
    const isOwner = (await standingOnPrompt(em, identity, prompt)).level >= RIGHTS.indexOf('owner');
    if (!demand.ownerMayUndo || !isOwner) throw protectedLabel(prompt, label, demand);
  }
  const move = { label, version: last.fromVersion, author: identity.subject, reason };
  return moveLabel(em, prompt, move, { kind: LabelMoveKind.UNDONE, undoes: last.revision });
}

/**
 * The last move that has not been undone: taking it back leads to where the label pointed before it.
 * @returns undefined where there is none, or it was the label's first
 */
async function undoable(
  em: EntityManager,
  { tenant, name }: PromptRow,
  label: string,
): Promise<LabelHistoryRow | undefined> {
  const rows = (await em.getConnection().execute(
    `select revision from prompt_label_history h where tenant = ? and name = ? and label = ? and undoes = 0
       and not exists (select 1 from prompt_label_history u
         where u.tenant = h.tenant and u.name = h.name and u.label = h.label and u.undoes = h.revision)
       order by revision desc limit 1`,
    [tenant, name, label],
    'all',
    em.getTransactionContext(),
  )) as { revision: number | string }[];
  if (!rows[0]) return undefined;
  const key = { tenant, name, label, revision: Number(rows[0].revision) };
  const entry = await em.findOneOrFail(LabelHistorySchema, key);
  return entry.fromVersion === '' ? undefined : entry;
}
