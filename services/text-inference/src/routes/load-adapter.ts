import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type {
  LoadAdapterRequest,
  LoadAdapterResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import { toLandfallError } from '../errors.ts';

export function loadAdapter(context: TextContext) {
  return async (
    request: LoadAdapterRequest,
    call: CallContext,
  ): Promise<MessageInitShape<typeof LoadAdapterResponseSchema>> => {
    const { adapters } = context.model(call.identity);
    try {
      const { ref, loadMs, changed } = await adapters.loadRef(request.model, call.signal);
      context.logger.info(
        { model: ref, load_ms: loadMs, changed, request_id: request.requestId },
        'adapter loaded',
      );
      return { model: ref, loadMs, alreadyLoaded: !changed };
    } catch (error) {
      throw toLandfallError(error);
    }
  };
}
