import type { Message } from '@bufbuild/protobuf';
import { deadlineExceeded } from '../errors/errors.ts';
import { TORN } from './definition.ts';

/** The writing side of a call of grpc-js. */
interface WritableCall {
  write(message: Message, written?: () => void): boolean;
  end(): unknown;
  cancel(): void;
  on(event: 'drain' | 'status' | 'close' | 'error', listener: () => void): unknown;
}

/** What the mark that a stream is torn gets to leave before the call is cancelled anyway. */
const TEAR_MS = 100;
/** The mark must leave before grpc-js ends the call at its deadline. */
const EARLY_MS = 20;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * Writes requests into a call as fast as it takes them, and ends it after the last one. When the call is over first,
 * the source is told to stop.
 * @param deadlineMs of the call, in milliseconds since 1970, or Infinity
 * @param fail called with the error of a source that throws, and when the deadline comes before the last request
 * @returns how to cancel the call so that the server cannot take it for whole
 */
export function pump(
  requests: AsyncIterable<Message>,
  call: WritableCall,
  deadlineMs: number,
  fail: (error: unknown) => void,
): { cancel(): void } {
  const source = requests[Symbol.asyncIterator]();
  const cancelCall = call.cancel.bind(call);
  /** Whether no more is written: all was, or the call is over or torn. */
  let closed = false;
  let wake = () => {};
  const waitMs = Math.min(deadlineMs - Date.now() - EARLY_MS, LONGEST_TIMER_MS);
  const late = () => fail(deadlineExceeded('the deadline has passed'));
  const timer = Number.isFinite(deadlineMs) ? setTimeout(late, Math.max(0, waitMs)) : undefined;

  const close = () => {
    closed = true;
    clearTimeout(timer);
    wake();
  };
  const end = () => {
    if (closed) return;
    close();
    source.return?.().catch(() => {});
  };
  call.on('drain', () => wake());
  call.on('status', end);
  call.on('close', end);
  call.on('error', end);

  const write = async () => {
    while (!closed) {
      const next = await source.next();
      if (closed) return;
      if (next.done) {
        close();
        call.end();
      } else if (!call.write(next.value)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  };
  write().catch((error) => {
    if (!closed) fail(error);
  });

  return {
    cancel: () => {
      if (closed) return cancelCall();
      end();
      const unsent = setTimeout(cancelCall, TEAR_MS);
      call.write(TORN, () => {
        clearTimeout(unsent);
        cancelCall();
      });
    },
  };
}
