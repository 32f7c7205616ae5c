import type { AccessRoute } from '../context.ts';
import { protectionReply } from '../domain/access-replies.ts';
import { protectionsOn } from '../domain/protections.ts';
import { requireOn } from '../domain/requested-target.ts';

export const listProtections: AccessRoute<'listProtections'> =
  ({ database }) =>
  ({ target }, { identity }) =>
    database.read(async (em) => {
      const targets = await requireOn(em, identity, target!, 'viewer');
      return { protections: (await protectionsOn(em, identity.tenant, targets)).map(protectionReply) };
    });
