import { failedPrecondition, notFound } from '@landfall/common/errors/errors.ts';
import { LogContent } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { LogRoute } from '../../context.ts';
import { InvocationSchema } from '../../db/entities.ts';
import { readEntry } from '../../domain/invocation-log.ts';
import { judge } from '../../domain/judge.ts';
import { judgedOf } from '../../domain/judge-queue.ts';
import { invocationReplies } from '../../domain/replies.ts';
import { requireRight } from '../../domain/rights.ts';
import { codeScore } from '../../domain/score-functions.ts';
import { attachScore, type NewScore } from '../../domain/scores.ts';
import { checkScoring } from '../../domain/scoring-check.ts';

/** Safe to repeat by its nature: a score is one for each name and author. No transaction is open while a judge thinks. */
export const computeScores: LogRoute<'computeScores'> = (context) => async (request, call) => {
  const { database, log } = context;
  const { tenant, subject } = call.identity;
  const { invocationId, functions, expected, judge: by, judgeScore } = request;
  checkScoring(request, '');
  await log.settled();
  const row = await database.read(async (em) => {
    const found = await em.findOne(InvocationSchema, { id: invocationId, tenant });
    if (!found) throw notFound('there is no such invocation');
    await requireRight(em, call.identity, found.name, 'invoker');
    return found;
  });
  const entry = readEntry(row.entry);
  if (entry.content === LogContent.NONE) {
    throw failedPrecondition("the log's policy keeps no texts of this invocation: there is nothing to score");
  }
  const scores: NewScore[] = functions.map((one) => codeScore(one, entry.output, expected));
  if (by) {
    const { mark, reason } = await judge(context, by, judgedOf(entry, expected), call);
    if (mark === 0)
      throw failedPrecondition(
        'the judge gave no mark from 1 to 10; say so in the rubric, or take another model',
      );
    scores.push({ name: judgeScore || 'quality', value: mark, reason });
  }
  return database.transaction(async (em) => {
    for (const score of scores) await attachScore(em, tenant, entry, score, subject);
    return { invocation: (await invocationReplies(em, [row]))[0]! };
  });
};
