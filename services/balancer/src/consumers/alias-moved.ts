import type { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { AliasMovedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { AliasFollower } from '../domain/alias-follower.ts';

/**
 * Has deployments follow an alias that moved. Safe to repeat: the registry is asked where it points now, so an old event
 * moves nothing back.
 */
export function aliasMovedConsumer(
  aliases: AliasFollower,
  broker: Broker,
  logger: Logger,
): EventConsumer<typeof AliasMovedSchema> {
  return new EventConsumer({
    broker,
    logger,
    durable: 'balancer-aliases',
    subject: 'landfall.registry.alias.moved.v1',
    schema: AliasMovedSchema,
    handle: async ({ tenant, name, alias }) => aliases.follow(tenant, `models:/${name}@${alias}`),
  });
}
