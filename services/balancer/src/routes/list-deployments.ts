import type { Route } from '../context.ts';
import { listDeployments as list } from '../domain/deployments.ts';
import { decodePageToken, encodePageToken } from '../domain/page-token.ts';
import { deploymentReply } from '../domain/replies.ts';

const DEFAULT_PAGE_SIZE = 50;

export const listDeployments: Route<'listDeployments'> =
  ({ database, fleet }) =>
  async ({ base, includeStopped, pageSize, pageToken }, { identity: { tenant } }) => {
    const filters = [base, includeStopped];
    const after = decodePageToken(pageToken, filters);
    const size = pageSize || DEFAULT_PAGE_SIZE;
    const rows = await database.read((em) =>
      list(em, tenant, { base, includeStopped, after, limit: size + 1 }),
    );
    const page = rows.slice(0, size);
    return {
      deployments: page.map((row) => deploymentReply(fleet, row)),
      nextPageToken: rows.length > size ? encodePageToken(page.at(-1)!.name, filters) : '',
    };
  };
