import type { DraftRoute } from '../../context.ts';
import { DraftSchema } from '../../db/contents-entities.ts';
import { head } from '../../domain/drafts.ts';
import { requireRight } from '../../domain/rights.ts';

export const listDrafts: DraftRoute<'listDrafts'> =
  ({ database }) =>
  ({ prompt: name }, { identity }) =>
    database.read(async (em) => {
      const { tenant } = await requireRight(em, identity, name, 'viewer');
      const rows = await em.find(DraftSchema, { tenant, name }, { orderBy: { draftName: 'asc' } });
      return { drafts: rows.map(head) };
    });
