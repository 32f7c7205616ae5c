import { createHash } from 'node:crypto';
import { create, type DescMessage, fromJson, type JsonValue, type Message, type MessageShape, toJson } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { UniqueConstraintViolationException } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { AnsweredRequestEntity } from '../db/entities.ts';

/** What makes a call repeatable: its token, and what it asks for. An empty token means that it is not. */
export type RequestKey = { tenant: string; method: string; requestId: string; fingerprint: string };

/** A request's key; the fingerprint is taken over all of the request but its token. */
export function requestKey<D extends DescMessage>(
  tenant: string,
  schema: D,
  request: MessageShape<D> & { requestId: string },
): RequestKey {
  const content = toJson(schema, create(schema, { ...request, requestId: '' } as never));
  return {
    tenant,
    method: schema.name,
    requestId: request.requestId,
    fingerprint: createHash('sha256').update(sortedJson(content)).digest('hex'),
  };
}

/** The answer that was given before, or undefined. Throws INVALID_ARGUMENT when the token was used otherwise. */
export async function findAnswer<D extends DescMessage>(
  em: SqlEntityManager,
  key: RequestKey,
  schema: D,
): Promise<MessageShape<D> | undefined> {
  if (key.requestId === '') return undefined;
  const { tenant, method, requestId } = key;
  const row = await em.findOne(AnsweredRequestEntity, { tenant, method, requestId });
  if (!row) return undefined;
  if (row.fingerprint !== key.fingerprint) {
    throw invalidArgument('request_id', 'it was used before with other content; take a new one', {
      reason: 'REQUEST_ID_REUSED',
    });
  }
  return fromJson(schema, row.answer as JsonValue);
}

/**
 * Runs `act` in a transaction that also keeps its answer, so that a repeated request gets the first answer and acts
 * once, whichever of two racing repeats comes first.
 */
export async function answerOnce<D extends DescMessage>(
  em: SqlEntityManager,
  key: RequestKey,
  schema: D,
  act: (em: SqlEntityManager) => Promise<MessageShape<D>>,
): Promise<MessageShape<D>> {
  const attempt = () =>
    em.fork().transactional(async (transaction) => {
      const before = await findAnswer(transaction, key, schema);
      if (before) return before;
      const answer = await act(transaction);
      if (key.requestId !== '') {
        const { tenant, requestId, method, fingerprint } = key;
        const row = { tenant, requestId, method, fingerprint, answer: toJson(schema, answer as Message as never) };
        await transaction.insert(AnsweredRequestEntity, { ...row, createdAt: new Date() });
      }
      return answer;
    });
  try {
    return await attempt();
  } catch (error) {
    // Another call took the name, or answered the same request, between our look and our write.
    if (error instanceof UniqueConstraintViolationException) return attempt();
    throw error;
  }
}

/** JSON with sorted keys: maps come off the wire in any order. */
function sortedJson(value: JsonValue): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
