import type { EntityManager } from '@landfall/common/db/database.ts';

/** More scores than these, and the first ones count: a drift that they don't show is found by a watch that begins anew. */
const MOST = 50_000;

/** Which scores are looked at. */
export interface LiveScores {
  tenant: string;
  name: string;
  version: string;
  score: string;
  sinceMs: number;
}

/**
 * Scores of invocations of a version that began at a time or later, in the order in which they came in. Ids of
 * invocations are UUIDs of version 7, which begin with their time.
 */
export async function liveScores(em: EntityManager, wanted: LiveScores): Promise<number[]> {
  const { tenant, name, version, score, sinceMs } = wanted;
  const first = sinceMs.toString(16).padStart(12, '0');
  const rows = await em.getConnection().execute<{ value: number | string }[]>(
    `select s.value as value from score s join invocation i on i.id = s.invocation_id
       where s.tenant = ? and s.name = ? and s.invocation_id >= ? and i.tenant = ? and i.name = ? and i.version = ?
       order by s.created_ms, s.invocation_id, s.author limit ?`,
    [tenant, score, `${first.slice(0, 8)}-${first.slice(8)}`, tenant, name, version, MOST],
    'all',
    em.getTransactionContext(),
  );
  return rows.map(({ value }) => Number(value));
}
