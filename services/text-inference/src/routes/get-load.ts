import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type {
  GetLoadRequest,
  GetLoadResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import { loadMessage } from '../load.ts';

export function getLoad(context: TextContext) {
  return (_request: GetLoadRequest, call: CallContext): MessageInitShape<typeof GetLoadResponseSchema> => ({
    load: loadMessage(context.model(call.identity)),
  });
}
