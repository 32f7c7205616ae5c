import { Code, ConnectError } from '@connectrpc/connect';
import { status } from '@grpc/grpc-js';
import { deadlineExceeded, LandfallError } from '@landfall/common/errors/errors.ts';

/** A parameter of an OpenAI-style request that can't be served, named. */
export class BadRequest extends Error {
  override name = 'BadRequest';
  readonly param: string;
  /** Of HTTP. */
  readonly status: number;

  constructor(param: string, message: string, httpStatus = 400) {
    super(`${param}: ${message}`);
    this.param = param;
    this.status = httpStatus;
  }
}

/** The body has more bytes than are taken. */
export class BodyTooLarge extends Error {
  override name = 'BodyTooLarge';
}

/** HTTP status, type and code of an error body, by gRPC code; the codes are those that OpenAI's clients look for. */
const BY_CODE: Partial<Record<status, { status: number; type: string; code?: string }>> = {
  [status.CANCELLED]: { status: 499, type: 'request_cancelled' },
  [status.INVALID_ARGUMENT]: { status: 400, type: 'invalid_request_error' },
  [status.DEADLINE_EXCEEDED]: { status: 504, type: 'timeout_error' },
  [status.NOT_FOUND]: { status: 404, type: 'invalid_request_error', code: 'model_not_found' },
  [status.PERMISSION_DENIED]: { status: 403, type: 'permission_error', code: 'permission_denied' },
  [status.RESOURCE_EXHAUSTED]: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  [status.FAILED_PRECONDITION]: { status: 400, type: 'invalid_request_error' },
  [status.OUT_OF_RANGE]: { status: 400, type: 'invalid_request_error' },
  [status.UNIMPLEMENTED]: { status: 501, type: 'unsupported_error' },
  [status.UNAVAILABLE]: { status: 503, type: 'overloaded_error' },
  [status.UNAUTHENTICATED]: { status: 401, type: 'authentication_error', code: 'invalid_api_key' },
};

export interface OpenAiError {
  status: number;
  body: { error: { message: string; type: string; param: string | null; code: string | null } };
}

const invalid = (httpStatus: number, message: string, param: string | null, code: string): OpenAiError => ({
  status: httpStatus,
  body: { error: { message, type: 'invalid_request_error', param, code } },
});

/** What is said of a path or verb that is not served. */
export function notServed(verb: string, path: string, pathExists: boolean): OpenAiError {
  const message = `${verb} ${path.slice(0, 256)} is not served`;
  return invalid(pathExists ? 405 : 404, message, null, pathExists ? 'method_not_allowed' : 'unknown_url');
}

/** What a failure says to an OpenAI client. One that is not ours to tell leaves as internal and is handed to `log`. */
export function toOpenAiError(thrown: unknown, log: (cause: unknown) => void): OpenAiError {
  // The door's own word on a body that did not come in time.
  const isLate = thrown instanceof ConnectError && thrown.code === Code.DeadlineExceeded;
  const cause = isLate ? deadlineExceeded(thrown.rawMessage) : thrown;
  if (cause instanceof BadRequest) return invalid(cause.status, cause.message, cause.param, 'invalid_value');
  if (cause instanceof BodyTooLarge) return invalid(413, cause.message, null, 'request_too_large');
  const known = cause instanceof LandfallError ? BY_CODE[cause.code] : undefined;
  if (!(cause instanceof LandfallError) || !known) {
    log(cause);
    const error = { message: 'internal error', type: 'server_error', param: null, code: 'internal_error' };
    return { status: 500, body: { error } };
  }
  const named = known.code === 'model_not_found' ? 'model' : null;
  const error = {
    message: cause.message,
    type: known.type,
    param: cause.fieldViolations[0]?.field || named,
    code: known.code ?? cause.reason?.toLowerCase() ?? null,
  };
  return { status: known.status, body: { error } };
}
