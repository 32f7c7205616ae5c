import { timestampNow } from '@bufbuild/protobuf/wkt';
import type { Route } from '../context.ts';
import { LabelSchema } from '../db/entities.ts';
import { findPrompt, findVersion } from '../domain/find.ts';
import { promptMessage, versionMessage } from '../domain/replies.ts';
import { requireRight } from '../domain/rights.ts';

/** Read more often than anything else: what does not depend on one another is asked for at once. */
export const getPrompt: Route<'getPrompt'> =
  ({ database }) =>
  ({ name, version: asked }, { identity }) =>
    database.read(async (em) => {
      // All labels in one query: the one that is asked for is among them, and both replies show theirs.
      const where = { tenant: identity.tenant, name };
      const [labels] = await Promise.all([
        em.find(LabelSchema, where, { orderBy: { label: 'asc' } }),
        findPrompt(em, identity.tenant, name),
      ]);
      const found = findVersion(em, identity.tenant, name, asked);
      // Whoever may not know of the prompt learns nothing of its versions either.
      found.catch(() => {});
      await requireRight(em, identity, name, 'viewer');
      const { prompt, version } = await found;
      const label = asked.startsWith('@') ? labels.find((one) => one.label === asked.slice(1)) : undefined;
      return {
        prompt: promptMessage(prompt, labels),
        version: versionMessage(version, labels),
        labelRevision: BigInt(label?.revision ?? 0),
        readTime: timestampNow(),
      };
    });
