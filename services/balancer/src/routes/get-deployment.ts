import type { Route } from '../context.ts';
import { findDeployment } from '../domain/deployments.ts';
import { historyOf } from '../domain/history.ts';
import { detailedReply, revisionReply } from '../domain/replies.ts';

export const getDeployment: Route<'getDeployment'> =
  ({ database, fleet }) =>
  async ({ name }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const row = await findDeployment(em, tenant, name);
      const history = await historyOf(em, tenant, name);
      return { deployment: await detailedReply(em, fleet, row), history: history.map(revisionReply) };
    });
