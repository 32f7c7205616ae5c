import {
  failedPrecondition,
  invalidArgument,
  type LandfallError,
  notFound,
  resourceExhausted,
  unavailable,
  unimplemented,
} from '@landfall/common/errors/errors.ts';

/** A failure of the server behind, and whether asking again may help. */
export class ServerFailure extends Error {
  override name = 'ServerFailure';
  /** What the caller is told. Nothing of it comes from the server, whose messages may name its own insides. */
  readonly told: LandfallError;
  readonly again: boolean;

  constructor(told: LandfallError, again: boolean) {
    super(told.message);
    this.told = told;
    this.again = again;
  }
}

const RETRY_AFTER_MS = 1000;
const LONGEST_RETRY_AFTER_MS = 60_000;

/** The server could not be reached, or broke off. */
export function lost(cause: unknown): ServerFailure {
  const told = unavailable('the server behind this replica can not be reached', {
    reason: 'BACKEND_LOST',
    retryAfterMs: RETRY_AFTER_MS,
    cause,
  });
  return new ServerFailure(told, true);
}

/** It takes too long; another attempt would take as long again, so whoever called chooses. */
export function silent(): ServerFailure {
  const told = unavailable('the server behind this replica does not answer', {
    reason: 'BACKEND_SILENT',
    retryAfterMs: RETRY_AFTER_MS,
  });
  return new ServerFailure(told, false);
}

/** It says what no such server says. */
export function garbled(what: string): ServerFailure {
  const told = unavailable(`the server behind this replica sent ${what}`, { reason: 'BACKEND_PROTOCOL' });
  return new ServerFailure(told, false);
}

/** What an error says for programs; all of it may be missing or of any type. */
export interface ServerError {
  code?: unknown;
  type?: unknown;
  param?: unknown;
}

/** Parameters of ours, by the server's names. */
const FIELDS: Record<string, string> = {
  messages: 'messages',
  prompt: 'prompt',
  response_format: 'constraint',
  guided_regex: 'constraint.regex',
  guided_choice: 'constraint.choice',
};
const SAMPLING =
  /^(temperature|top_p|top_k|min_p|seed|max_tokens|stop|n|logit_bias|top_logprobs|\w+_penalty|ignore_eos)$/;

/** A refusal by HTTP status, before the answer or in the middle of it (status 500 there). */
export function refused(status: number, error: ServerError, retryAfterMs: number | undefined): ServerFailure {
  const afterMs = Math.min(retryAfterMs ?? RETRY_AFTER_MS, LONGEST_RETRY_AFTER_MS);
  if (status === 429) {
    const told = resourceExhausted('the server behind this replica has no room', {
      reason: 'BACKEND_FULL',
      retryAfterMs: afterMs,
    });
    return new ServerFailure(told, true);
  }
  if (status >= 500 && status !== 501) {
    const told = unavailable('the server behind this replica has failed', {
      reason: 'BACKEND_FAILED',
      retryAfterMs: afterMs,
    });
    return new ServerFailure(told, true);
  }
  return new ServerFailure(final(status, error), false);
}

function final(status: number, { code, param }: ServerError): LandfallError {
  if (status >= 300 && status < 400) {
    return failedPrecondition('the server behind this replica points elsewhere, which is not followed', {
      reason: 'BACKEND_REDIRECTS',
    });
  }
  if (status === 401 || status === 403) {
    return failedPrecondition('the server behind this replica does not take its key', {
      reason: 'BACKEND_KEY',
    });
  }
  if (status === 404)
    return notFound('the server behind this replica has no such model', { reason: 'MODEL_NOT_FOUND' });
  if (status === 501 || status === 405) {
    return unimplemented('the server behind this replica does not serve this', {
      reason: 'BACKEND_UNIMPLEMENTED',
    });
  }
  const name = typeof param === 'string' ? (/^\w+/.exec(param)?.[0] ?? '') : '';
  const tooLong = code === 'context_length_exceeded' || status === 413;
  const field = FIELDS[name] ?? (SAMPLING.test(name) ? `sampling.${name}` : 'request');
  const why = tooLong
    ? 'leaves no room for an answer in the model’s context'
    : 'is refused by the server behind';
  return invalidArgument(tooLong && field === 'request' ? 'messages' : field, why, {
    reason: tooLong ? 'CONTEXT_LENGTH' : 'BACKEND_REFUSES',
  });
}
