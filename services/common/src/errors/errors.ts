import { status } from '@grpc/grpc-js';

/** A field of a request that is wrong, by its path in the message (`spec.config.rank`). */
export interface FieldViolation {
  field: string;
  description: string;
}

export interface LandfallErrorOptions {
  /** Upper-case name of what went wrong, for programs; ErrorInfo.reason. */
  reason?: string;
  fieldViolations?: readonly FieldViolation[];
  /** When to come again; RetryInfo. */
  retryAfterMs?: number;
  /** Facts for programs; ErrorInfo.metadata. */
  metadata?: Record<string, string>;
  cause?: unknown;
}

/**
 * An error that may leave a service: its message is for the person who called. Everything else leaves as
 * "internal error" and its cause is logged.
 */
export class LandfallError extends Error {
  /** gRPC status code. */
  readonly code: status;
  readonly reason: string | undefined;
  readonly fieldViolations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;
  readonly metadata: Record<string, string>;

  constructor(code: status, message: string, options: LandfallErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'LandfallError';
    this.code = code;
    this.reason = options.reason;
    this.fieldViolations = options.fieldViolations ?? [];
    this.retryAfterMs = options.retryAfterMs;
    this.metadata = options.metadata ?? {};
  }
}

/** One wrong field. */
export function invalidArgument(
  field: string,
  description: string,
  options: LandfallErrorOptions = {},
): LandfallError {
  return new LandfallError(status.INVALID_ARGUMENT, `${field}: ${description}`, {
    reason: 'INVALID_ARGUMENT',
    ...options,
    fieldViolations: [{ field, description }],
  });
}

type Factory = (message: string, options?: LandfallErrorOptions) => LandfallError;
const factory =
  (code: status): Factory =>
  (message, options = {}) =>
    new LandfallError(code, message, { reason: status[code], ...options });

export const notFound = factory(status.NOT_FOUND);
export const alreadyExists = factory(status.ALREADY_EXISTS);
export const failedPrecondition = factory(status.FAILED_PRECONDITION);
export const aborted = factory(status.ABORTED);
export const permissionDenied = factory(status.PERMISSION_DENIED);
export const unauthenticated = factory(status.UNAUTHENTICATED);
/** Give retryAfterMs: the caller is told when to come again. */
export const resourceExhausted = factory(status.RESOURCE_EXHAUSTED);
export const unavailable = factory(status.UNAVAILABLE);
export const dataLoss = factory(status.DATA_LOSS);
export const deadlineExceeded = factory(status.DEADLINE_EXCEEDED);
export const cancelled = factory(status.CANCELLED);
export const unimplemented = factory(status.UNIMPLEMENTED);
/** For a fault of ours whose message may leave; anything that is no LandfallError leaves as "internal error" anyway. */
export const internal = factory(status.INTERNAL);
