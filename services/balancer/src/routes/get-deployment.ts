import type { Route } from '../context.ts';
import { findDeployment } from '../domain/deployments.ts';
import { deploymentReply } from '../domain/replies.ts';

export const getDeployment: Route<'getDeployment'> =
  ({ database, fleet }) =>
  async ({ name }, { identity: { tenant } }) => {
    const row = await database.read((em) => findDeployment(em, tenant, name));
    return { deployment: deploymentReply(fleet, row) };
  };
