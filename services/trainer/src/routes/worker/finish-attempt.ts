import type { WorkerRoute } from '../../context.ts';
import { hasEnded, jobReply, stateName } from '../../domain/job-reply.ts';
import { checkAttempt, endJob, lockJob } from '../../domain/job-transitions.ts';

export const finishAttemptRoute: WorkerRoute<'finishAttempt'> =
  ({ database, changes, logger }) =>
  async ({ jobId, attemptId, state, failure }) => {
    const job = await database.transaction(async (em) => {
      const row = await lockJob(em, jobId);
      // A repeat after a lost answer finds the job ended by itself, and changes nothing.
      if (!hasEnded(row.state)) {
        checkAttempt(row, attemptId);
        await endJob(em, row, stateName(state) as 'succeeded' | 'failed' | 'cancelled', failure);
        await em.flush();
      }
      return jobReply(em, row);
    });
    changes.touch(jobId);
    logger.info({ job_id: jobId, state: stateName(job.state) }, 'a job has ended');
    return { job };
  };
