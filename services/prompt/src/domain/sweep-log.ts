import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { InvocationSchema, PromptSchema, ScoreSchema } from '../db/entities.ts';
import { JudgeTaskSchema, LogPolicySchema } from '../db/log-entities.ts';
import { firstId } from './invocation-search.ts';
import { logPolicyOf } from './log-policies.ts';

const BATCH = 500;

/** Deletes what log policies keep no longer, in small transactions that let others through: one pass over all prompts. @returns how many invocations were deleted */
export async function sweepLog(database: Database, nowMs: number, signal: AbortSignal): Promise<number> {
  const tenants = await database.read((em) =>
    em.find(LogPolicySchema, { keepForMs: { $ne: null } }, { fields: ['tenant'] }),
  );
  let deleted = 0;
  for (const tenant of new Set(tenants.map((row) => row.tenant))) {
    const prompts = await database.read((em) => em.find(PromptSchema, { tenant }));
    for (const prompt of prompts) {
      const policy = await database.read((em) => logPolicyOf(em, prompt));
      if (!policy?.keepForMs) continue;
      const where = { tenant, name: prompt.name, id: { $lt: firstId(nowMs - policy.keepForMs) } };
      for (let count = BATCH; count === BATCH && !signal.aborted; deleted += count) {
        count = await database.transaction((em) => deleteBatch(em, where));
      }
    }
  }
  return deleted;
}

async function deleteBatch(
  em: EntityManager,
  where: { tenant: string; name: string; id: { $lt: string } },
): Promise<number> {
  const rows = await em.find(InvocationSchema, where, {
    fields: ['id'],
    orderBy: { id: 'asc' },
    limit: BATCH,
  });
  const ids = rows.map(({ id }) => id);
  if (ids.length === 0) return 0;
  await em.nativeDelete(ScoreSchema, { invocationId: { $in: ids } });
  await em.nativeDelete(JudgeTaskSchema, { invocationId: { $in: ids } });
  await em.nativeDelete(InvocationSchema, { id: { $in: ids } });
  return ids.length;
}
