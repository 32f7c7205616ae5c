import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';

/** Rights travel in every caller's identity: what is more belongs into roles, groups and names of deployments. */
const MOST_RESOURCES = 200;
const MOST_GRANTS = 1000;

/** @throws LandfallError FAILED_PRECONDITION where a tenant says more of single resources than can be carried */
export async function keepWithinLimits(em: EntityManager, tenant: string): Promise<void> {
  await em.flush();
  const [{ resources, grants }] = (await em.getConnection().execute(
    `select (select count(*) from (select resource from resource_grant where tenant = ?
         union select resource from resource_restriction where tenant = ?) said) as resources,
       (select count(*) from resource_grant where tenant = ?) as grants`,
    [tenant, tenant, tenant],
    'all',
    em.getTransactionContext(),
  )) as [{ resources: number | string; grants: number | string }];
  if (Number(resources) > MOST_RESOURCES || Number(grants) > MOST_GRANTS) {
    throw failedPrecondition(
      `a tenant has rights on at most ${MOST_RESOURCES} resources, and ${MOST_GRANTS} of them: give them to groups`,
      { reason: 'TOO_MANY_RIGHTS' },
    );
  }
}
