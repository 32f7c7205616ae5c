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
import type { Database, EntityManager } from './database.ts';

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
  const key = { tenant, method, requestId };
  // The token is taken first: a repeat that runs at the same time waits here for the first to commit.
  const claim = { ...key, digest, response: '', createdMs: Date.now() };
  await em.upsert(HandledRequestSchema, claim, { onConflictAction: 'ignore' });
  const known = await em.findOneOrFail(HandledRequestSchema, key, { refresh: true });
  if (known.digest !== digest) {
    throw invalidArgument('request_id', 'was used before with other content; take a new one');
  }
  if (known.response !== '') return fromJsonString(call.output, known.response);
  const reply = await mutate();
  await em.nativeUpdate(HandledRequestSchema, key, { response: toJsonString(call.output, reply) });
  return reply;
}

/**
 * The same in a transaction of its own: of two repeats that race, the later one finds the earlier one's answer and
 * changes nothing.
 */
export async function onceIn<I extends DescMessage, O extends DescMessage>(
  database: Database,
  call: RepeatableCall<I, O>,
  request: MessageShape<I>,
  mutate: (em: EntityManager) => Promise<MessageShape<O>>,
): Promise<MessageShape<O>> {
  return database.transaction((em) => once(em, call, request, () => mutate(em)));
}
