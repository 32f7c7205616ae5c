import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { once, type RepeatableCall } from '@landfall/common/db/idempotency.ts';
import type { TrainerContext } from '../context.ts';

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
