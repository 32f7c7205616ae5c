import { unavailable } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';
import { hasEnded, jobReply } from '../domain/job-reply.ts';
import { findJob } from '../domain/job-transitions.ts';

export const watchJob: Route<'watchJob'> = ({ database, changes, stopping }) =>
  async function* ({ id }, { identity, signal: caller }) {
    const signal = AbortSignal.any([caller, stopping]);
    const sent = { revision: -1, loss: 0, learningRate: 0, evaluationLoss: 0 };
    while (!signal.aborted) {
      // Asked for before the look, so that a change between look and wait is not missed.
      const change = changes.next(id, signal);
      const found = await database.read(async (em) => {
        const row = await findJob(em, identity.tenant, id);
        if (row.revision === sent.revision) return undefined;
        return { row, job: await jobReply(em, row, { pointsAfter: sent }) };
      });
      if (found) {
        const { row, job } = found;
        sent.revision = row.revision;
        sent.loss = job.loss.at(-1)?.step ?? sent.loss;
        sent.learningRate = job.learningRate.at(-1)?.step ?? sent.learningRate;
        sent.evaluationLoss = job.evaluationLoss.at(-1)?.step ?? sent.evaluationLoss;
        yield { job };
        if (hasEnded(row.state)) return;
      }
      await change;
    }
    if (stopping.aborted) throw unavailable('the service is stopping; watch again');
  };
