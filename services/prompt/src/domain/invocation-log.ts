import { createHash } from 'node:crypto';
import { create, fromJsonString, toBinary, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Database } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  type Invocation,
  InvocationSchema as InvocationMessage,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  type InvokeRequest,
  InvokeRequestSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { InvocationSchema } from '../db/entities.ts';

export function invocationDigest(request: InvokeRequest): string {
  return createHash('sha256').update(toBinary(InvokeRequestSchema, request)).digest('base64url');
}

/**
 * The logged answer of an earlier call with the same token and content that ended well.
 * @throws LandfallError INVALID_ARGUMENT for a token that was used with other content
 */
export async function findAnswered(
  database: Database,
  tenant: string,
  request: InvokeRequest,
): Promise<Invocation | undefined> {
  const { requestId } = request;
  if (!requestId) return undefined;
  const row = await database.read((em) => em.findOne(InvocationSchema, { tenant, requestId }));
  if (!row) return undefined;
  if (row.requestDigest !== invocationDigest(request)) {
    throw invalidArgument('request_id', 'was used before with other content; take a new one');
  }
  return fromJsonString(InvocationMessage, row.entry);
}

/**
 * Writes a log entry. A failed call leaves its token free, so that it can be tried again; of two calls with one token
 * at the same time the first to end keeps it.
 */
export async function writeLog(
  database: Database,
  tenant: string,
  request: InvokeRequest,
  entry: Invocation,
): Promise<void> {
  const createdMs = Date.now();
  const stored = create(InvocationMessage, { ...entry, createTime: timestampFromMs(createdMs) });
  await database.transaction(async (em) => {
    const taken =
      request.requestId !== '' &&
      (await em.count(InvocationSchema, { tenant, requestId: request.requestId })) > 0;
    await em.insert(InvocationSchema, {
      id: entry.id,
      tenant,
      name: entry.name,
      version: entry.version,
      deployment: entry.deployment,
      requestId: entry.error || taken || !request.requestId ? null : request.requestId,
      requestDigest: invocationDigest(request),
      entry: toJsonString(InvocationMessage, stored),
      createdMs,
    });
  });
}
