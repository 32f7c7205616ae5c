import type { Route } from '../context.ts';
import { listModels as list } from '../domain/lists.ts';
import { kindName, modelReplies } from '../domain/replies.ts';

export const listModels: Route<'listModels'> =
  ({ config, database }) =>
  ({ kind, namePrefix, ...page }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const { rows, nextPageToken } = await list(em, tenant, { kind: kindName(kind), namePrefix }, page);
      return { models: await modelReplies(em, rows, config.keepEmptyMs), nextPageToken };
    });
