import type { LifeRoute } from '../context.ts';
import { listPolicies, policyReply } from '../domain/policies.ts';

export const listAliasPolicies: LifeRoute<'listAliasPolicies'> =
  ({ database }) =>
  ({ name, ...page }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const { rows, nextPageToken } = await listPolicies(em, tenant, name, page);
      return { policies: rows.map(policyReply), nextPageToken };
    });
