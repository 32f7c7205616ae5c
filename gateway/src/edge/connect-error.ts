import { Code, ConnectError } from '@connectrpc/connect';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from '@landfall/proto/google/rpc/error_details_pb.js';

/** Connect's form of an error, with its google.rpc details; codes are the same numbers. */
export function connectError(error: LandfallError): ConnectError {
  const details = [];
  if (error.reason) {
    const value = { reason: error.reason, domain: 'landfall', metadata: error.metadata };
    details.push({ desc: ErrorInfoSchema, value });
  }
  if (error.fieldViolations.length > 0) {
    details.push({ desc: BadRequestSchema, value: { fieldViolations: [...error.fieldViolations] } });
  }
  const headers = new Headers();
  if (error.retryAfterMs !== undefined) {
    const wholeMs = Math.ceil(error.retryAfterMs);
    const retryDelay = { seconds: BigInt(Math.floor(wholeMs / 1000)), nanos: (wholeMs % 1000) * 1e6 };
    details.push({ desc: RetryInfoSchema, value: { retryDelay } });
    headers.set('retry-after', String(Math.max(1, Math.ceil(error.retryAfterMs / 1000))));
  }
  return new ConnectError(error.message, error.code as number as Code, headers, details);
}

/** Any failure as one that may leave. Unknown ones are handed to `log` and leave as internal. */
export function outgoingError(cause: unknown, log: (cause: unknown) => void): ConnectError {
  if (cause instanceof LandfallError) return connectError(cause);
  if (cause instanceof ConnectError) return cause;
  log(cause);
  return new ConnectError('internal error', Code.Internal);
}
