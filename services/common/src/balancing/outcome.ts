import { status } from '@grpc/grpc-js';
import { LandfallError } from '../errors/errors.ts';
import type { Outcome } from './policy.ts';

/** Codes that are the replica's fault, or may be: its peers tell. */
const FAULTS = new Set([status.INTERNAL, status.UNKNOWN, status.DATA_LOSS, status.DEADLINE_EXCEEDED]);

/** What a failed attempt tells of the endpoint; what the caller did wrong, or took back, tells nothing. */
export function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof LandfallError)) return 'unknown';
  if (error.code === status.UNAVAILABLE) return 'unreachable';
  return FAULTS.has(error.code) ? 'failed' : 'unknown';
}

export function isRefusal(error: unknown): error is LandfallError {
  return error instanceof LandfallError && error.code === status.RESOURCE_EXHAUSTED;
}
