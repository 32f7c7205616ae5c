import { invalidArgument, notFound } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';
import { InvocationSchema, ScoreSchema } from '../db/entities.ts';
import { invocationReplies } from '../domain/replies.ts';

/** Safe to repeat by its nature: a score is one for each name and author. */
export const scoreInvocation: Route<'scoreInvocation'> =
  ({ database, log }) =>
  async ({ invocationId, score }, { identity: { tenant, subject } }) => {
    const { name, value, reason } = score!;
    if (name === 'quality' && (value < 1 || value > 10)) {
      throw invalidArgument('score.value', 'a quality score lies between 1 and 10');
    }
    await log.settled();
    return database.transaction(async (em) => {
      const row = await em.findOne(InvocationSchema, { id: invocationId, tenant });
      if (!row) throw notFound('there is no such invocation');
      await em.upsert(ScoreSchema, {
        invocationId,
        name,
        author: subject,
        tenant,
        value,
        reason,
        createdMs: Date.now(),
      });
      return { invocation: (await invocationReplies(em, [row]))[0]! };
    });
  };
