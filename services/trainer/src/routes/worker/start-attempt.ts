import type { WorkerRoute } from '../../context.ts';
import { jobReply } from '../../domain/job-reply.ts';
import { lockJob, startAttempt } from '../../domain/job-transitions.ts';
import { jobHasEnded } from '../../errors.ts';

export const startAttemptRoute: WorkerRoute<'startAttempt'> =
  ({ database, changes, logger }) =>
  async ({ jobId, attemptId, worker }) => {
    const reply = await database.transaction(async (em) => {
      const row = await lockJob(em, jobId);
      await startAttempt(em, row, attemptId);
      await em.flush();
      const { state, tenant } = row;
      return { state, tenant, job: await jobReply(em, row) };
    });
    changes.touch(jobId);
    if (reply.state !== 'running') throw jobHasEnded(jobId, reply.state);
    logger.info({ job_id: jobId, worker, attempt: reply.job.attempts }, 'a worker takes a job');
    return { job: reply.job, tenant: reply.tenant };
  };
