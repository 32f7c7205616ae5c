import { type ServerInterceptingCallInterface, type ServerInterceptor, status } from '@grpc/grpc-js';

/**
 * Ends calls whose single request does not arrive whole in time: without it, a caller that opens calls and sends
 * nothing holds them for as long as it likes, because a handler's deadline begins with the request.
 * @param arrivalMs what a request gets; a call is ended up to a quarter later
 */
export function lateRequests(arrivalMs: number): ServerInterceptor {
  const late = {
    code: status.DEADLINE_EXCEEDED,
    details: `the request did not arrive within ${arrivalMs} ms`,
  };
  /** When each call came, the oldest first. One timer looks after all: one for each would cost more than this. */
  const waiting = new Map<ServerInterceptingCallInterface, number>();
  let sweep: NodeJS.Timeout | undefined;
  const sweepLate = () => {
    const before = performance.now() - arrivalMs;
    for (const [call, sinceMs] of waiting) {
      if (sinceMs > before) break;
      waiting.delete(call);
      call.sendStatus(late);
    }
    if (waiting.size > 0) return;
    clearInterval(sweep);
    sweep = undefined;
  };
  return (method, call) => {
    if (method.requestStream) return call as never;
    waiting.set(call, performance.now());
    sweep ??= setInterval(sweepLate, arrivalMs / 4).unref();
    const { start } = call;
    // The call itself is changed, not wrapped: grpc-js's wrapper costs a tenth of a small call.
    call.start = (listener) =>
      start.call(call, {
        onReceiveMetadata: (metadata) => listener.onReceiveMetadata(metadata),
        onReceiveMessage: (message) => listener.onReceiveMessage(message),
        onReceiveHalfClose: () => {
          waiting.delete(call);
          listener.onReceiveHalfClose();
        },
        onCancel: () => {
          waiting.delete(call);
          listener.onCancel();
        },
      });
    return call as never;
  };
}
