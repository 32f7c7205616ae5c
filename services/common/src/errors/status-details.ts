import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Any, anyPack, anyUnpack } from '@bufbuild/protobuf/wkt';
import { Metadata, status } from '@grpc/grpc-js';
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from '@landfall/proto/google/rpc/error_details_pb.js';
import { StatusSchema } from '@landfall/proto/google/rpc/status_pb.js';
import { LandfallError, type LandfallErrorOptions } from './errors.ts';

/** Trailer that carries google.rpc.Status, as every gRPC implementation names it. */
export const DETAILS_KEY = 'grpc-status-details-bin';

/** The google.rpc details of an error: ErrorInfo, and BadRequest and RetryInfo where they say something. */
export function errorDetails(error: LandfallError): Any[] {
  const details: Any[] = [];
  if (error.reason) {
    const info = create(ErrorInfoSchema, {
      reason: error.reason,
      domain: 'landfall',
      metadata: error.metadata,
    });
    details.push(anyPack(ErrorInfoSchema, info));
  }
  if (error.fieldViolations.length > 0) {
    details.push(
      anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: [...error.fieldViolations] })),
    );
  }
  if (error.retryAfterMs !== undefined) {
    const wholeMs = Math.ceil(error.retryAfterMs);
    const retryDelay = { seconds: BigInt(Math.floor(wholeMs / 1000)), nanos: (wholeMs % 1000) * 1e6 };
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  return details;
}

/** Trailers of 64 KiB end a connection; a message is for people, who stop reading before this. */
const LONGEST_MESSAGE = 2048;

/** A message as a header takes it: of bounded length, and without halves of surrogate pairs. */
export function headerMessage(message: string): string {
  const short = message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}…` : message;
  return short.toWellFormed();
}

/** Trailers that carry an error's details. */
export function detailTrailers(error: LandfallError): Metadata {
  const metadata = new Metadata();
  const message = create(StatusSchema, {
    code: error.code,
    message: headerMessage(error.message),
    details: errorDetails(error),
  });
  metadata.set(DETAILS_KEY, Buffer.from(toBinary(StatusSchema, message)));
  return metadata;
}

/**
 * What grpc-js itself says of a call that reached no service, or lost it, names addresses and sockets. That is for
 * the log (as the cause); whoever called is told this.
 */
const PLAIN: Partial<Record<status, string>> = {
  [status.CANCELLED]: 'the call was cancelled',
  [status.UNKNOWN]: 'the call failed',
  [status.DEADLINE_EXCEEDED]: 'the deadline has passed',
  [status.INTERNAL]: 'the call failed',
  [status.UNAVAILABLE]: 'the service cannot be reached',
};

/** The error behind a failed call, details included. */
export function errorFromStatus(
  code: status,
  message: string,
  trailers: Metadata | undefined,
): LandfallError {
  const bytes = trailers?.get(DETAILS_KEY)[0];
  if (bytes instanceof Uint8Array) return new LandfallError(code, message, detailsFrom(bytes));
  const plain = PLAIN[code];
  const options = { reason: status[code] };
  return plain
    ? new LandfallError(code, plain, { ...options, cause: new Error(message) })
    : new LandfallError(code, message, options);
}

/** The details that are known here; none from bytes that are no google.rpc.Status. */
function detailsFrom(bytes: Uint8Array): LandfallErrorOptions {
  const options: LandfallErrorOptions = {};
  try {
    for (const detail of fromBinary(StatusSchema, bytes).details) {
      const info = anyUnpack(detail, ErrorInfoSchema);
      if (info) Object.assign(options, { reason: info.reason, metadata: { ...info.metadata } });
      const bad = anyUnpack(detail, BadRequestSchema);
      if (bad) {
        options.fieldViolations = bad.fieldViolations.map(({ field, description }) => ({
          field,
          description,
        }));
      }
      const retry = anyUnpack(detail, RetryInfoSchema)?.retryDelay;
      if (retry) options.retryAfterMs = Number(retry.seconds) * 1000 + retry.nanos / 1e6;
    }
  } catch {
    // A peer that sends nonsense beside its status is still believed about the status.
  }
  return options;
}
