import { setTimeout as delay } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { unavailable } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type {
  WatchLoadRequest,
  WatchLoadResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import type { Backend } from './backend.ts';

type Reply = MessageInitShape<typeof WatchLoadResponseSchema>;

const DEFAULT_INTERVAL_MS = 250;

/** The load now, then after each change; changes within one interval come as one message. */
export async function* watchBackendLoad(
  context: TextContext,
  { load }: Backend,
  loadNow: () => Reply['load'],
  { intervalMs }: WatchLoadRequest,
  call: CallContext,
): AsyncGenerator<Reply> {
  context.checkTenant(call.identity);
  const signal = AbortSignal.any([call.signal, context.draining]);
  while (!signal.aborted) {
    const changed = new Promise<void>((resolve) => {
      const end = () => {
        forget();
        signal.removeEventListener('abort', end);
        resolve();
      };
      const forget = load.onChange(end);
      signal.addEventListener('abort', end, { once: true });
    });
    yield { load: loadNow() };
    // An abort ends both waits; which signal it was is told below.
    await delay(intervalMs || DEFAULT_INTERVAL_MS, undefined, { signal }).catch(() => {});
    await changed;
  }
  call.signal.throwIfAborted();
  throw unavailable('this replica is draining');
}
