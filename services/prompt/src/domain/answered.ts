import { createHash } from 'node:crypto';
import { toBinary } from '@bufbuild/protobuf';
import type { Database } from '@landfall/common/db/database.ts';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import { type Invocation, LogContent } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  type InvokeRequest,
  InvokeRequestSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { InvocationSchema } from '../db/entities.ts';
import { type InvocationLog, keptOf, readEntry } from './invocation-log.ts';

/** sha256 of a request, to tell a repeat from another request with the same token. */
export function invocationDigest(request: InvokeRequest): string {
  return createHash('sha256').update(toBinary(InvokeRequestSchema, request)).digest('base64url');
}

/**
 * The logged answer of an earlier call with the same token and content that ended well, committed or on its way.
 * @throws LandfallError INVALID_ARGUMENT for a token that was used with other content, FAILED_PRECONDITION where its answer
 *   is not kept
 */
export async function findAnswered(
  { database, log }: { database: Database; log: InvocationLog },
  tenant: string,
  request: InvokeRequest,
): Promise<Invocation | undefined> {
  const { requestId } = request;
  if (!requestId) return undefined;
  const pending = log.pending(tenant, requestId);
  const row = pending
    ? undefined
    : await database.read((em) => em.findOne(InvocationSchema, { tenant, requestId }));
  const digest = pending?.requestDigest ?? row?.requestDigest;
  if (digest === undefined) return undefined;
  if (digest !== invocationDigest(request)) {
    throw invalidArgument('request_id', 'was used before with other content; take a new one');
  }
  const answered = pending ? keptOf(pending) : readEntry(row!.entry);
  if (answered.content === LogContent.NONE) {
    throw failedPrecondition(
      'this request was answered before, and the log keeps no answers: take a new request_id',
      {
        reason: 'ANSWER_NOT_KEPT',
        metadata: { invocation: answered.id },
      },
    );
  }
  return answered;
}
