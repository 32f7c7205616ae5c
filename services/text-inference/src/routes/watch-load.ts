import { setTimeout as delay } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { unavailable } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type {
  WatchLoadRequest,
  WatchLoadResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import type { ModelThread } from '../engine/model-thread.ts';
import { loadMessage } from '../load.ts';

const DEFAULT_INTERVAL_MS = 250;

/** The load now, then after each change; changes within one interval come as one message. */
export function watchLoad(context: TextContext) {
  return async function* (
    request: WatchLoadRequest,
    call: CallContext,
  ): AsyncGenerator<MessageInitShape<typeof WatchLoadResponseSchema>> {
    const model = context.model(call.identity);
    const intervalMs = request.intervalMs || DEFAULT_INTERVAL_MS;
    const signal = AbortSignal.any([call.signal, context.draining]);
    while (!signal.aborted) {
      const changed = nextChange(model.thread, signal);
      yield { load: loadMessage(model) };
      // An abort ends both waits; which signal it was is told below.
      await delay(intervalMs, undefined, { signal }).catch(() => {});
      await changed;
    }
    call.signal.throwIfAborted();
    throw unavailable('this replica is draining');
  };
}

function nextChange(thread: ModelThread, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      forget();
      signal.removeEventListener('abort', end);
      resolve();
    };
    const forget = thread.onLoad(end);
    signal.addEventListener('abort', end, { once: true });
  });
}
