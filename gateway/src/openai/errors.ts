/** A parameter of an OpenAI-style request that can't be served, named. */
export class BadChatRequest extends Error {
  readonly param: string;

  constructor(param: string, message: string) {
    super(`${param} ${message}`);
    this.param = param;
  }
}

/** HTTP status and type of an error body, by gRPC code. */
const BY_CODE: Record<number, { status: number; type: string }> = {
  1: { status: 499, type: 'request_cancelled' },
  3: { status: 400, type: 'invalid_request_error' },
  4: { status: 504, type: 'timeout_error' },
  5: { status: 404, type: 'not_found_error' },
  7: { status: 403, type: 'permission_error' },
  8: { status: 429, type: 'rate_limit_error' },
  9: { status: 400, type: 'invalid_request_error' },
  11: { status: 400, type: 'invalid_request_error' },
  12: { status: 501, type: 'unsupported_error' },
  14: { status: 503, type: 'overloaded_error' },
  16: { status: 401, type: 'authentication_error' },
};

export interface OpenAiError {
  status: number;
  body: { error: { message: string; type: string; param: string | null; code: string | null } };
}

/** The error body that OpenAI's clients expect, for a gRPC status. */
export function openAiError(code: number, message: string, param: string | null = null): OpenAiError {
  const { status, type } = BY_CODE[code] ?? { status: 500, type: 'server_error' };
  return { status, body: { error: { message, type, param, code: null } } };
}
