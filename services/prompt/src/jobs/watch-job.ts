import { unavailable } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { PromptContext } from '../context.ts';
import type { JobKind, JobRow } from '../db/evaluation-entities.ts';
import { requireRight } from '../domain/rights.ts';
import { findJob, hasEnded } from './job-store.ts';

/**
 * A job now and at each change, until it has ended.
 * @throws LandfallError NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE when the service stops
 */
export async function* watchJob(
  { database, changes, stopping }: PromptContext,
  kind: JobKind,
  id: string,
  { identity, signal: caller }: CallContext,
): AsyncGenerator<JobRow> {
  const signal = AbortSignal.any([caller, stopping]);
  let sent = -1;
  while (!signal.aborted) {
    // Asked for before the look, so that a change between look and wait is not missed.
    const change = changes.next(id, signal);
    const row = await database.read(async (em) => {
      const found = await findJob(em, identity.tenant, kind, id);
      if (sent < 0) await requireRight(em, identity, found.name, 'viewer');
      return found;
    });
    if (row.revision !== sent) {
      sent = row.revision;
      yield row;
      if (hasEnded(row)) return;
    }
    await change;
  }
  if (stopping.aborted) throw unavailable('the service is stopping; watch again');
}

/** Waits for a job's end. @throws LandfallError DEADLINE_EXCEEDED, CANCELLED when the caller leaves: the job goes on */
export async function ended(
  context: PromptContext,
  kind: JobKind,
  id: string,
  call: CallContext,
): Promise<JobRow> {
  for await (const row of watchJob(context, kind, id, call)) if (hasEnded(row)) return row;
  throw call.signal.reason;
}
