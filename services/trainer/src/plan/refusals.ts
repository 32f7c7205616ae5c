import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';

const PASSING = new Set([
  status.UNAVAILABLE,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.CANCELLED,
  status.ABORTED,
]);
const UNKNOWN = new Set([status.INTERNAL, status.UNKNOWN]);
/** Refusals of one round's settings or data, after which another may do. */
const OF_A_ROUND = new Set(['DOES_NOT_FIT', 'NO_PARAPHRASES', 'BAD_ROWS', 'OTHER_METHOD']);

/** What an error means for a plan: it passes, its cause is unknown and it may pass, or it will not. */
export function passes(error: unknown): 'yes' | 'perhaps' | 'no' {
  if (!(error instanceof LandfallError) || UNKNOWN.has(error.code)) return 'perhaps';
  return PASSING.has(error.code) ? 'yes' : 'no';
}

/** Whether only this round is refused; its reason for people. */
export function refusalOfRound(error: unknown): string | undefined {
  if (!(error instanceof LandfallError)) return undefined;
  const settings = error.code === status.INVALID_ARGUMENT;
  return settings || OF_A_ROUND.has(error.reason ?? '') ? error.message : undefined;
}
