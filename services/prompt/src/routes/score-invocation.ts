import { notFound } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';
import { InvocationSchema } from '../db/entities.ts';
import { readEntry } from '../domain/invocation-log.ts';
import { invocationReplies } from '../domain/replies.ts';
import { requireRight } from '../domain/rights.ts';
import { attachScore, checkScore } from '../domain/scores.ts';

/** Safe to repeat by its nature: a score is one for each name and author. */
export const scoreInvocation: Route<'scoreInvocation'> =
  ({ database, log }) =>
  async ({ invocationId, score }, { identity }) => {
    const { tenant, subject } = identity;
    const { name, value, reason } = score!;
    checkScore(name, value, 'score.value');
    await log.settled();
    return database.transaction(async (em) => {
      const row = await em.findOne(InvocationSchema, { id: invocationId, tenant });
      if (!row) throw notFound('there is no such invocation');
      await requireRight(em, identity, row.name, 'invoker');
      await attachScore(em, tenant, readEntry(row.entry), { name, value, reason }, subject);
      return { invocation: (await invocationReplies(em, [row]))[0]! };
    });
  };
