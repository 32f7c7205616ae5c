import { randomUUID } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import type { Logger } from '../log/logger.ts';
import { LandfallError } from './errors.ts';

/** Codes that say that something here is broken, so that somebody here should read of it. */
const ALARMING = new Set([status.UNKNOWN, status.INTERNAL, status.DATA_LOSS]);

/**
 * The error that may leave a service: a LandfallError as it is, and "internal error" with an id for anything else.
 * What happened is logged under the same id.
 * @param rpc the method that failed, for the log
 */
export function outgoingError(cause: unknown, logger: Logger, rpc: string): LandfallError {
  if (cause instanceof LandfallError) {
    if (ALARMING.has(cause.code)) logger.error({ err: cause, rpc }, 'call failed');
    else if (cause.cause !== undefined) logger.debug({ err: cause, rpc }, 'call refused');
    return cause;
  }
  const errorId = randomUUID();
  logger.error({ err: cause, error_id: errorId, rpc }, 'call failed');
  return new LandfallError(status.INTERNAL, `internal error ${errorId}`, {
    reason: 'INTERNAL',
    metadata: { error_id: errorId },
    cause,
  });
}
