import type { Route } from '../context.ts';
import { jobReply } from '../domain/job-reply.ts';
import { findJob } from '../domain/job-transitions.ts';

export const getJob: Route<'getJob'> =
  ({ database }) =>
  ({ id, includeRows }, { identity }) =>
    database.read(async (em) => {
      const row = await findJob(em, identity.tenant, id);
      const pointsAfter = { loss: 0, learningRate: 0, evaluationLoss: 0 };
      return { job: await jobReply(em, row, { pointsAfter, rows: includeRows }) };
    });
