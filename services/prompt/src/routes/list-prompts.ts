import { afterKey, page, pageSize } from '@landfall/common/rpc/pages.ts';
import type { FilterQuery } from '@mikro-orm/core';
import type { Route } from '../context.ts';
import { type PromptRow, PromptSchema } from '../db/entities.ts';
import { promptReplies } from '../domain/replies.ts';
import { visibleTo } from '../domain/visibility.ts';

const NAME = /^[a-z0-9]+([._-][a-z0-9]+)*$/;
/** Sorts behind every name that begins with what stands before it. */
const LAST = '\u{10ffff}';

export const listPrompts: Route<'listPrompts'> =
  ({ database }) =>
  ({ pageSize: most, pageToken, task, namePrefix }, { identity }) =>
    database.read(async (em) => {
      const size = pageSize(most);
      const after = afterKey(pageToken, NAME);
      const bounds = {
        ...(after ? { $gt: after } : {}),
        ...(namePrefix ? { $gte: namePrefix, $lt: namePrefix + LAST } : {}),
      };
      const { tenant } = identity;
      const asked = { tenant, ...(after || namePrefix ? { name: bounds } : {}), ...(task ? { task } : {}) };
      const visible = await visibleTo<PromptRow>(em, identity);
      const where = visible ? ({ $and: [asked, visible] } as FilterQuery<PromptRow>) : asked;
      const found = await em.find(PromptSchema, where, { orderBy: { name: 'asc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, (row) => row.name);
      return { prompts: await promptReplies(em, rows), nextPageToken };
    });
