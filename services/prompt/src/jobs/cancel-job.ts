import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { LockMode } from '@mikro-orm/core';
import type { PromptContext } from '../context.ts';
import { JobEntity, type JobKind, type JobRow } from '../db/evaluation-entities.ts';
import { requireRight } from '../domain/rights.ts';
import { endJob, findJob, hasEnded } from './job-store.ts';

/** Ends a job that has not ended; whoever runs it leaves it. @throws LandfallError NOT_FOUND, PERMISSION_DENIED */
export async function cancelJob(
  { database, jobs, changes }: PromptContext,
  kind: JobKind,
  id: string,
  { identity }: CallContext,
): Promise<JobRow> {
  const row = await database.transaction(async (em) => {
    const { name } = await findJob(em, identity.tenant, kind, id);
    await requireRight(em, identity, name, 'editor');
    const found = await em.findOneOrFail(
      JobEntity,
      { id },
      { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true },
    );
    if (!hasEnded(found)) await endJob(em, found, { state: 'cancelled' });
    return found;
  });
  jobs.interrupt(id);
  changes.touch(id);
  return row;
}
