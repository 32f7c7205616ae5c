import type { Database } from '@landfall/common/db/database.ts';
import type { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { DeploymentChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { DeploymentUseEntity } from '../db/life-entities.ts';

/** Keeps which deployment runs which version, so that what runs is not deleted. An older event changes nothing. */
export function deploymentChangedConsumer(
  database: Database,
  broker: Broker,
  logger: Logger,
): EventConsumer<typeof DeploymentChangedSchema> {
  return new EventConsumer({
    broker,
    database,
    logger,
    durable: 'registry-deployments',
    subject: 'landfall.balancer.deployment.changed.v1',
    schema: DeploymentChangedSchema,
    handle: async ({ tenant, name, model, state, revision }, { em }) => {
      const known = await em!.findOne(DeploymentUseEntity, { tenant, name });
      if (known && known.revision >= Number(revision)) return;
      await em!.upsert(DeploymentUseEntity, { tenant, name, model, state, revision: Number(revision) });
    },
  });
}
