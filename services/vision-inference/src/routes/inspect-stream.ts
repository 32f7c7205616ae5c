import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  type InspectStreamRequest,
  type InspectStreamResponse,
  InspectStreamResponseSchema,
} from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import type { VisionContext, VisionRoute } from '../context.ts';
import { inspect } from '../inspection/inspect.ts';

/** So many images are asked about at once: replicas batch them. */
const AT_ONCE = 4;

export const inspectStream: VisionRoute<'inspectStream'> = (context) => (request, call) =>
  run(context, request, call);

async function* run(
  context: VisionContext,
  { requests }: InspectStreamRequest,
  call: CallContext,
): AsyncGenerator<InspectStreamResponse> {
  const total = requests.length;
  const running = new Map<number, Promise<InspectStreamResponse>>();
  let [next, done] = [0, 0];
  while (done < total) {
    call.signal.throwIfAborted();
    for (; next < total && running.size < AT_ONCE; next++) {
      const each = outcome(context, next, requests, call);
      // Those that nobody waits for any more end by themselves.
      each.catch(() => {});
      running.set(next, each);
    }
    const reply = await Promise.race(running.values());
    running.delete(reply.index);
    done++;
    yield Object.assign(reply, { done, total });
  }
}

/** One image's report, or why there is none. Faults of ours end the whole stream. */
async function outcome(
  context: VisionContext,
  index: number,
  requests: InspectStreamRequest['requests'],
  call: CallContext,
): Promise<InspectStreamResponse> {
  try {
    const origin = { field: `requests[${index}].`, batchId: '' };
    const report = await inspect(context, requests[index]!, call, origin);
    return create(InspectStreamResponseSchema, { index, outcome: { case: 'report', value: report } });
  } catch (cause) {
    if (!(cause instanceof LandfallError) || call.signal.aborted) throw cause;
    const value = { code: status[cause.code], message: cause.message };
    return create(InspectStreamResponseSchema, { index, outcome: { case: 'failure', value } });
  }
}
