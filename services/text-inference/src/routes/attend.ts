import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type {
  AttendRequest,
  AttendResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import type { EngineRequest } from '../engine/sequence.ts';
import { toLandfallError } from '../errors.ts';
import { promptInput, submit } from '../generation.ts';
import { refuseImages, seenImages } from '../image-rules.ts';

/** What every token looks at is computed outside of the runtime: a longer chat would hold up running generations. */
const MOST_TOKENS = 4096;

export function attend(context: TextContext) {
  return async (
    request: AttendRequest,
    call: CallContext,
  ): Promise<MessageInitShape<typeof AttendResponseSchema>> => {
    const { identity, signal } = call;
    const model = context.model(identity);
    if (!model.images) refuseImages(request.messages);
    if (request.messages.every(({ images }) => images.length === 0))
      throw invalidArgument('messages', 'bring no image to look at');
    const leave = context.admission.enter();
    try {
      const target = await model.adapters.target(request.model, signal);
      const { prompt, completion, images, parts } = await model.prompts.encodeParts(
        promptInput({ ...request, prompt: '' }),
        request.completion,
        request.spans,
      );
      const tokens = prompt.length + completion.length;
      if (tokens > MOST_TOKENS)
        throw invalidArgument(
          'completion',
          `with the chat it is ${tokens} tokens; at most ${MOST_TOKENS} are looked at`,
        );
      const engineRequest: EngineRequest = {
        id: randomUUID(),
        prompt,
        completion,
        images: await seenImages(request.messages, images, model, identity.tenant, signal),
        attend: parts,
        adapter: target.adapter,
        tenant: identity.tenant,
        client: identity.subject,
        priority: 0,
        sampling: { temperature: 0, topK: 0, topP: 1, seed: 0n },
        maxTokens: 1,
        stop: [],
        ignoreEos: false,
      };
      const { rows, columns } = model.thread.shape.images!;
      for await (const event of submit(engineRequest, request.model, model, signal)) {
        if (event.finish === 'error') throw new Error(`the model failed: ${event.error}`);
        if (event.finish === 'attended')
          return {
            model: target.ref,
            maps: event.maps!.map((maps) => ({
              images: maps.map((weights) => ({ rows, columns, weights: [...weights] })),
            })),
          };
      }
      throw new Error('the model thread ended the request without what it looks at');
    } catch (error) {
      throw toLandfallError(error);
    } finally {
      leave();
    }
  };
}
