import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';

/** Failures that may pass: a replica that starts anew, a full queue, a balancer that is away. */
const PASSING: ReadonlySet<status> = new Set([
  status.UNAVAILABLE,
  status.RESOURCE_EXHAUSTED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
]);
/** Failures of one row: its prompt is beyond the context, or not to the model's taste. The next row may do. */
const OF_THE_ROW: ReadonlySet<status> = new Set([status.INVALID_ARGUMENT, status.OUT_OF_RANGE]);
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5000;

export const isPassing = (error: unknown): boolean =>
  error instanceof LandfallError && PASSING.has(error.code);
export const isOfTheRow = (error: unknown): boolean =>
  error instanceof LandfallError && OF_THE_ROW.has(error.code);

/**
 * Tries again while a failure may pass, with growing pauses, up to `patienceMs` since the first try.
 * @throws the last failure
 */
export async function patiently<T>(
  work: () => Promise<T>,
  { patienceMs, signal }: { patienceMs: number; signal: AbortSignal },
): Promise<T> {
  const until = Date.now() + patienceMs;
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw error;
      const { retryAfterMs = 0 } = error as LandfallError;
      const wait = Math.max(pauseMs, retryAfterMs);
      if (Date.now() + wait > until) throw error;
      await delay(wait, undefined, { signal });
    }
  }
}
