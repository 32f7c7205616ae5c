import type { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import { JobFinishedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { TrainerContext } from '../context.ts';
import { evaluationDeployment } from '../domain/evaluation-deployment.ts';
import { trainerIdentity } from '../identity.ts';

/**
 * Stops the deployment that a job's evaluation was served by, where its worker died before it could. Safe to repeat:
 * one that is stopped already is left alone.
 */
export function evaluationLeftConsumer(
  { deployments, logger, stopping }: TrainerContext,
  broker: Broker,
): EventConsumer<typeof JobFinishedSchema> {
  return new EventConsumer({
    broker,
    logger,
    durable: 'trainer-evaluations',
    subject: 'landfall.trainer.job.finished.v1',
    schema: JobFinishedSchema,
    handle: async ({ jobId, tenant }) => {
      const options = { identity: trainerIdentity(tenant), signal: stopping };
      const name = evaluationDeployment(jobId);
      if (!(await deployments.find(name, options))) return;
      await deployments.stop(name, options);
      logger.info({ job_id: jobId, deployment: name }, 'an evaluation deployment that was left is stopped');
    },
  });
}
