import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { once, type RepeatableCall } from '@landfall/common/db/idempotency.ts';
import type { TrainerContext } from '../context.ts';

/**
 * Keeps the answer of a request that has a token, in the transaction that acts; a repeat gets it again. Of two
 * repeats that race, the later one finds the earlier one's answer.
 */
export async function answerOnce<I extends DescMessage, O extends DescMessage>(
  { database }: TrainerContext,
  call: RepeatableCall<I, O>,
  request: MessageShape<I>,
  act: (em: EntityManager) => Promise<MessageShape<O>>,
): Promise<MessageShape<O>> {
  return database.transaction((em) => once(em, call, request, () => act(em)));
}

/** The answer that a token was given before. Looked for ahead of work that is too long for a transaction. */
export async function knownAnswer<I extends DescMessage, O extends DescMessage>(
  { database }: TrainerContext,
  call: RepeatableCall<I, O>,
  request: MessageShape<I>,
): Promise<MessageShape<O> | undefined> {
  if (call.requestId === '') return undefined;
  return database
    .transaction((em) =>
      once(em, call, request, () => {
        throw new Unknown();
      }),
    )
    .catch((error) => {
      if (error instanceof Unknown) return undefined;
      throw error;
    });
}

class Unknown extends Error {}
