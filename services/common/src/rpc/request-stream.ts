import type { Message } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '../errors/errors.ts';
import { requireNamed, requireResources } from '../identity/check.ts';
import type { CallScope } from './call-scope.ts';
import type { Malformed } from './definition.ts';
import { checkRequest } from './validation.ts';

/**
 * The requests of a stream, each checked by its rules as it is read. Ends with the call's own reason when the call
 * is stopped, and with DEADLINE_EXCEEDED when nothing more arrives for a while.
 */
export async function* checkedRequests(
  scope: CallScope,
  call: AsyncIterable<Message | Malformed> & { destroy(error?: Error): unknown },
  idleMs: number,
): AsyncGenerator<Message> {
  const late = () =>
    scope.stop(
      new LandfallError(status.DEADLINE_EXCEEDED, `no request arrived for ${idleMs} ms`, {
        reason: 'DEADLINE_EXCEEDED',
      }),
    );
  const requests = call[Symbol.asyncIterator]();
  let isFirst = true;
  for (;;) {
    const timer = setTimeout(late, idleMs);
    let next: IteratorResult<Message | Malformed>;
    try {
      next = await requests.next();
    } catch (error) {
      // A call that was cut off destroys its stream; why it was is known.
      throw scope.stopped ?? error;
    } finally {
      clearTimeout(timer);
    }
    if (next.done) {
      // A stream that was cut off also ends, and says why a moment later: half an upload must not pass for a whole.
      await new Promise(setImmediate);
      scope.expire();
    }
    if (scope.stopped) throw scope.stopped;
    if (next.done) return;
    const request = checkRequest(scope.route.method.input, next.value);
    (isFirst ? requireResources : requireNamed)(scope.identity, scope.route.method, request);
    isFirst = false;
    yield request;
  }
}
