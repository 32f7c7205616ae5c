import type { DraftRoute } from '../../context.ts';
import { draftReply, findDraft } from '../../domain/drafts.ts';
import { requireRight } from '../../domain/rights.ts';

export const getDraft: DraftRoute<'getDraft'> =
  ({ database }) =>
  ({ prompt: name, draftName }, { identity }) =>
    database.read(async (em) => {
      const prompt = await requireRight(em, identity, name, 'viewer');
      return { draft: await draftReply(em, identity, prompt, await findDraft(em, prompt, draftName)) };
    });
