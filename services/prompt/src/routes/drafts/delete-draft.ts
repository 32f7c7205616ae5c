import type { DraftRoute } from '../../context.ts';
import { DraftSchema } from '../../db/contents-entities.ts';
import { requireRight } from '../../domain/rights.ts';

export const deleteDraft: DraftRoute<'deleteDraft'> =
  ({ database }) =>
  ({ prompt: name, draftName }, { identity }) =>
    database.transaction(async (em) => {
      const { tenant } = await requireRight(em, identity, name, 'editor');
      await em.nativeDelete(DraftSchema, { tenant, name, draftName });
      return {};
    });
