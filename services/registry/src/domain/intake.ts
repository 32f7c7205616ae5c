import { setImmediate } from 'node:timers/promises';
import { dataLoss, deadlineExceeded } from '@landfall/common/errors/errors.ts';
import { checkHead, HEAD_BYTES } from '../inspect/forbidden.ts';

export type IntakeOptions = {
  /** Announced size in bytes; 0 when unknown. */
  sizeBytes: number;
  /** Longest wait for the next chunk, in milliseconds. */
  idleMs: number;
  /** Fires when the sender has gone. */
  signal: AbortSignal;
};

/**
 * Watches content on its way into the store: what is refused by its first bytes, is larger than announced, or stops
 * coming ends there, and the store keeps nothing of it. Throws INVALID_ARGUMENT, DATA_LOSS, DEADLINE_EXCEEDED.
 */
export async function* watchIntake(
  path: string,
  content: AsyncIterable<Uint8Array>,
  { sizeBytes, idleMs, signal }: IntakeOptions,
): AsyncGenerator<Uint8Array> {
  let head: Uint8Array[] | undefined = [];
  let received = 0;
  for await (const chunk of withIdleLimit(content, idleMs)) {
    received += chunk.length;
    if (sizeBytes > 0 && received > sizeBytes) {
      throw dataLoss(`more than the announced ${sizeBytes} bytes came; nothing was kept: send it again`);
    }
    if (!head) {
      yield chunk;
      continue;
    }
    head.push(chunk);
    if (received < HEAD_BYTES) continue;
    const held = Buffer.concat(head);
    head = undefined;
    checkHead(path, held, false);
    yield held;
  }
  // grpc-js ends the stream of a sender that breaks off like one that is complete, and tells of the break right
  // after: half a file must not be taken for a whole one.
  await setImmediate();
  signal.throwIfAborted();
  if (head) {
    const held = Buffer.concat(head);
    checkHead(path, held, true);
    if (held.length > 0) yield held;
  }
}

/** Passes values on and throws DEADLINE_EXCEEDED when the next one does not come in time. */
export async function* withIdleLimit<T>(values: AsyncIterable<T>, idleMs: number): AsyncGenerator<T> {
  const iterator = values[Symbol.asyncIterator]();
  try {
    for (;;) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_resolve, reject) => {
        const error = () =>
          reject(deadlineExceeded(`nothing came for ${idleMs} ms; nothing was kept: send it again`));
        timer = setTimeout(error, idleMs);
      });
      const next = iterator.next();
      // When the limit passes, nobody waits for this value any more.
      next.catch(() => {});
      const result = await Promise.race([next, late]).finally(() => clearTimeout(timer));
      if (result.done) return;
      yield result.value;
    }
  } finally {
    // Not waited for: a source that hangs would hang here too.
    iterator.return?.()?.catch(() => {});
  }
}
