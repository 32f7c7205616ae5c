import { createHash } from 'node:crypto';
import {
  create,
  type DescMessage,
  fromJsonString,
  type JsonValue,
  type MessageShape,
  toJson,
  toJsonString,
} from '@bufbuild/protobuf';
import { HandledRequestSchema } from '@landfall/common/db/chassis-tables.ts';
import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';

/** What makes a call repeatable: its token, and what it asks for. An empty token means that it is not. */
export type RequestKey = { tenant: string; method: string; requestId: string; digest: string };

/** A request's key; the digest is taken over all of the request but its token. */
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
    digest: requestDigest(content),
  };
}

/** What tells one content of a request from another. */
export function requestDigest(content: JsonValue): string {
  return createHash('sha256').update(sortedJson(content)).digest('base64url');
}

/** The answer that was given before, or undefined. Throws INVALID_ARGUMENT when the token was used otherwise. */
export async function findAnswer<D extends DescMessage>(
  em: EntityManager,
  key: RequestKey,
  schema: D,
): Promise<MessageShape<D> | undefined> {
  if (key.requestId === '') return undefined;
  const { tenant, method, requestId } = key;
  const row = await em.findOne(HandledRequestSchema, { tenant, method, requestId });
  if (!row) return undefined;
  if (row.digest !== key.digest) {
    throw invalidArgument('request_id', 'it was used before with other content; take a new one', {
      reason: 'REQUEST_ID_REUSED',
    });
  }
  return fromJsonString(schema, row.response);
}

/**
 * Runs `act` in a transaction that also keeps its answer, so that a repeated request gets the first answer and acts
 * once, whichever of two racing repeats comes first.
 */
export async function answerOnce<D extends DescMessage>(
  database: Database,
  key: RequestKey,
  schema: D,
  act: (em: EntityManager) => Promise<MessageShape<D>>,
): Promise<MessageShape<D>> {
  return database.transaction(async (em) => {
    const before = await findAnswer(em, key, schema);
    if (before) return before;
    const answer = await act(em);
    if (key.requestId !== '') {
      const response = toJsonString(schema, answer);
      await em.insert(HandledRequestSchema, { ...key, response, createdMs: Date.now() });
    }
    return answer;
  });
}

/** How long an answer is kept for repeats of its request. */
const KEEP_ANSWERS_MS = 7 * 86_400_000;

/** Forgets answers that nobody can still be waiting for. */
export async function forgetOldAnswers(database: Database): Promise<void> {
  const createdMs = { $lt: Date.now() - KEEP_ANSWERS_MS };
  await database.read((em) => em.nativeDelete(HandledRequestSchema, { createdMs }));
}

/** JSON with sorted keys: maps come off the wire in any order. */
function sortedJson(value: JsonValue): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
