import { createHash } from 'node:crypto';
import {
  type DescMessage,
  fromJsonString,
  type Message,
  type MessageShape,
  toBinary,
  toJsonString,
} from '@bufbuild/protobuf';
import { invalidArgument } from '../errors/errors.ts';
import { HandledRequestSchema } from './chassis-tables.ts';
import type { EntityManager } from './database.ts';

export interface RepeatableCall<I extends DescMessage, O extends DescMessage> {
  tenant: string;
  /** Full method name. */
  method: string;
  /** The client's token; empty for none. */
  requestId: string;
  input: I;
  output: O;
}

/**
 * Runs a mutation once for each request id, in the caller's transaction: a repeat with the same content returns the
 * first answer.
 * @throws LandfallError INVALID_ARGUMENT for a token that was used with other content.
 */
export async function once<I extends DescMessage, O extends DescMessage>(
  em: EntityManager,
  call: RepeatableCall<I, O>,
  request: MessageShape<I>,
  mutate: () => Promise<MessageShape<O>>,
): Promise<MessageShape<O>> {
  const { tenant, method, requestId } = call;
  if (!requestId) return mutate();
  const digest = createHash('sha256')
    .update(toBinary(call.input, request as Message as never))
    .digest('base64url');
  const known = await em.findOne(HandledRequestSchema, { tenant, method, requestId });
  if (known) {
    if (known.digest !== digest) {
      throw invalidArgument('request_id', 'was used before with other content; take a new one');
    }
    return fromJsonString(call.output, known.response);
  }
  const reply = await mutate();
  const response = toJsonString(call.output, reply);
  await em.insert(HandledRequestSchema, {
    tenant,
    method,
    requestId,
    digest,
    response,
    createdMs: Date.now(),
  });
  return reply;
}
