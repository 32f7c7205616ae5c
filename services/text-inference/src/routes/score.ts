import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type {
  ScoreRequest,
  ScoreResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { TextContext } from '../context.ts';
import type { EngineRequest } from '../engine/sequence.ts';
import { toLandfallError } from '../errors.ts';
import { promptInput, submit } from '../generation.ts';
import { refuseImages, seenImages } from '../image-rules.ts';

/** A longer one would hold up running generations for too long. */
const MOST_TOKENS = 2048;

export function score(context: TextContext) {
  return async (
    request: ScoreRequest,
    call: CallContext,
  ): Promise<MessageInitShape<typeof ScoreResponseSchema>> => {
    const model = context.model(call.identity);
    if (!model.images) refuseImages(request.messages);
    const leave = context.admission.enter();
    try {
      const target = await model.adapters.target(request.model, call.signal);
      const encoded = await model.prompts.encode(promptInput(request), request.completion);
      const { identity, signal } = call;
      const tokens = encoded.completion.length;
      if (tokens > MOST_TOKENS)
        throw invalidArgument('completion', `it is ${tokens} tokens; at most ${MOST_TOKENS} are scored`);
      const engineRequest: EngineRequest = {
        id: randomUUID(),
        ...encoded,
        images: await seenImages(request.messages, encoded.images, model, identity.tenant, signal),
        adapter: target.adapter,
        tenant: call.identity.tenant,
        client: call.identity.subject,
        priority: 0,
        sampling: { temperature: 0, topK: 0, topP: 1, seed: 0n },
        maxTokens: 1,
        stop: [],
        ignoreEos: false,
      };
      for await (const event of submit(engineRequest, request.model, model, call.signal)) {
        if (event.finish === 'error') throw new Error(`the model failed: ${event.error}`);
        if (event.finish === 'scored')
          return { model: target.ref, tokens, logProbability: event.logProbability! };
      }
      throw new Error('the model thread ended the request without a score');
    } catch (error) {
      throw toLandfallError(error);
    } finally {
      leave();
    }
  };
}
