import type { Route } from '../context.ts';
import { findModel } from '../domain/find.ts';
import { modelReply } from '../domain/replies.ts';

export const getModel: Route<'getModel'> =
  ({ config, database }) =>
  ({ name }, { identity: { tenant } }) =>
    database.read(async (em) => ({
      model: await modelReply(em, await findModel(em, tenant, name), config.keepEmptyMs),
    }));
