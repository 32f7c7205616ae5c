import type { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import { JobFinishedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { TrainerContext } from '../context.ts';
import { PlanRoundEntity } from '../db/plan-entities.ts';

/** Goes on with a plan when the job of its round has ended. Safe to repeat: a plan is only looked at. */
export function jobFinishedConsumer(
  { database, logger, plans }: TrainerContext,
  broker: Broker,
): EventConsumer<typeof JobFinishedSchema> {
  return new EventConsumer({
    broker,
    logger,
    durable: 'trainer-plans',
    subject: 'landfall.trainer.job.finished.v1',
    schema: JobFinishedSchema,
    handle: async ({ jobId }) => {
      const round = await database.read((em) => em.findOne(PlanRoundEntity, { jobId }));
      if (round) plans.wake(round.planId);
    },
  });
}
