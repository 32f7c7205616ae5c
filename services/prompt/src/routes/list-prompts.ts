import type { Route } from '../context.ts';
import { PromptSchema } from '../db/entities.ts';
import { afterKey, page, pageSize } from '../domain/pages.ts';
import { promptReplies } from '../domain/replies.ts';

const NAME = /^[a-z0-9]+([._-][a-z0-9]+)*$/;
/** Sorts behind every name that begins with what stands before it. */
const LAST = '\u{10ffff}';

export const listPrompts: Route<'listPrompts'> =
  ({ database }) =>
  ({ pageSize: asked, pageToken, task, namePrefix }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const size = pageSize(asked);
      const after = afterKey(pageToken, NAME);
      const bounds = {
        ...(after ? { $gt: after } : {}),
        ...(namePrefix ? { $gte: namePrefix, $lt: namePrefix + LAST } : {}),
      };
      const where = { tenant, ...(after || namePrefix ? { name: bounds } : {}), ...(task ? { task } : {}) };
      const found = await em.find(PromptSchema, where, { orderBy: { name: 'asc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, (row) => row.name);
      return { prompts: await promptReplies(em, rows), nextPageToken };
    });
