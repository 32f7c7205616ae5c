import type { MessageInitShape } from '@bufbuild/protobuf';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type {
  UnloadAdapterRequest,
  UnloadAdapterResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import { toLandfallError } from '../errors.ts';

export function unloadAdapter(context: TextContext) {
  return async (
    request: UnloadAdapterRequest,
    call: CallContext,
  ): Promise<MessageInitShape<typeof UnloadAdapterResponseSchema>> => {
    const { adapters } = context.model(call.identity);
    try {
      const unloaded = await adapters.unload(request.model);
      context.logger.info(
        { model: request.model, unloaded, request_id: request.requestId },
        'adapter unloaded',
      );
      return { unloaded };
    } catch (error) {
      throw toLandfallError(error);
    }
  };
}
