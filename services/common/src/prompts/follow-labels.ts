import { LabelMovedSchema, PromptAccessChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import type { Broker } from '../events/broker.ts';
import { EventConsumer } from '../events/consumer.ts';
import type { Logger } from '../log/logger.ts';
import type { LabelCache } from './label-cache.ts';

/** Tells a cache of labels what moves and whose rights change, as it happens, until it is disposed. */
export async function followLabels(
  cache: LabelCache,
  broker: Broker,
  logger: Logger,
): Promise<AsyncDisposable> {
  await using starting = new AsyncDisposableStack();
  const moves = new EventConsumer({
    ...{ broker, logger, subject: 'landfall.prompt.label.moved.v1', schema: LabelMovedSchema },
    handle: async (event) => cache.moved(event),
  });
  const rights = new EventConsumer({
    ...{ broker, logger, subject: 'landfall.prompt.access.changed.v1', schema: PromptAccessChangedSchema },
    handle: async () => cache.accessChanged(),
  });
  for (const consumer of [moves, rights]) {
    starting.use(consumer);
    await consumer.start();
  }
  return starting.move();
}
