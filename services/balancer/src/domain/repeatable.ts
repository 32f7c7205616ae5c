import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { once, type RepeatableCall } from '@landfall/common/db/idempotency.ts';

/**
 * Runs a mutation in one transaction with the mark of its request id: a repeat returns the first answer and changes
 * nothing, whichever of two racing repeats comes first.
 */
export async function repeatable<I extends DescMessage, O extends DescMessage>(
  database: Database,
  call: RepeatableCall<I, O>,
  request: MessageShape<I>,
  mutate: (em: EntityManager) => Promise<MessageShape<O>>,
): Promise<MessageShape<O>> {
  return database.transaction((em) => once(em, call, request, () => mutate(em)));
}
