import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type Any, anyPack, anyUnpack } from '@bufbuild/protobuf/wkt';
import { Metadata, type status } from '@grpc/grpc-js';
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
    const retryDelay = {
      seconds: BigInt(Math.floor(error.retryAfterMs / 1000)),
      nanos: Math.round((error.retryAfterMs % 1000) * 1e6),
    };
    details.push(anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay })));
  }
  return details;
}

/** Trailers that carry an error's details. */
export function detailTrailers(error: LandfallError): Metadata {
  const metadata = new Metadata();
  const message = create(StatusSchema, {
    code: error.code,
    message: error.message,
    details: errorDetails(error),
  });
  metadata.set(DETAILS_KEY, Buffer.from(toBinary(StatusSchema, message)));
  return metadata;
}

/** The error behind a failed call, details included. */
export function errorFromStatus(
  code: status,
  message: string,
  trailers: Metadata | undefined,
): LandfallError {
  const options: LandfallErrorOptions = {};
  const bytes = trailers?.get(DETAILS_KEY)[0];
  if (bytes instanceof Uint8Array) {
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
  }
  return new LandfallError(code, message, options);
}
