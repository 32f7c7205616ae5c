import type { Message } from '@bufbuild/protobuf';

/** The writing side of a call of grpc-js. */
interface WritableCall {
  write(message: Message): boolean;
  end(): unknown;
  on(event: 'drain' | 'status' | 'close' | 'error', listener: () => void): unknown;
}

/**
 * Writes requests into a call as fast as it takes them, and ends it after the last one. When the call is over first,
 * the source is told to stop.
 * @param fail called with the error of a source that throws
 */
export function pump(
  requests: AsyncIterable<Message>,
  call: WritableCall,
  fail: (error: unknown) => void,
): void {
  const source = requests[Symbol.asyncIterator]();
  let over = false;
  let wake = () => {};
  const end = () => {
    if (over) return;
    over = true;
    wake();
    source.return?.().catch(() => {});
  };
  call.on('drain', () => wake());
  call.on('status', end);
  call.on('close', end);
  call.on('error', end);
  const write = async () => {
    while (!over) {
      const next = await source.next();
      if (over) return;
      if (next.done) {
        call.end();
        return;
      }
      if (!call.write(next.value)) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  };
  write().catch((error) => {
    if (!over) fail(error);
  });
}
