/** One generation from a validated request to the messages of its stream. */

import type { MessageInitShape } from '@bufbuild/protobuf';
import { prefixKeys } from '@landfall/common/balancing/prefix-keys.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { FinishReason, type TokenLogprobSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type {
  GenerateRequest,
  GenerateResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { LoadedModel } from './context.ts';
import type { RequestEvent } from './engine/model-thread.ts';
import type { PromptInput } from './engine/prompt.ts';
import { type DescribedToken, RefusedError } from './engine/protocol.ts';
import type { EngineRequest } from './engine/sequence.ts';
import { interleaved } from './generation-answers.ts';
import { checkRequest, constraintOf, toEngineRequests } from './generation-request.ts';
import type { GenerationTelemetry, Outcome } from './generation-telemetry.ts';
import { refuseImages, seenImages } from './image-rules.ts';
import { ahead, loadNews } from './load.ts';
import { LoadNews } from './load-news.ts';

export type GenerateReply = MessageInitShape<typeof GenerateResponseSchema>;

const MOST_ATTEMPTS = 3;

/**
 * Finds the model, encodes the prompt, runs it once for each answer that is wanted; yields the first token at once and
 * then whatever is new, of all answers as it comes.
 * @throws PromptError, RefusedError, LandfallError
 */
export async function* runGeneration(
  request: GenerateRequest,
  model: LoadedModel,
  telemetry: GenerationTelemetry,
  { identity, deadlineMs, signal }: Pick<CallContext, 'identity' | 'deadlineMs' | 'signal'>,
): AsyncGenerator<GenerateReply, Outcome> {
  checkRequest(request, model.thread.shape);
  if (!model.images) refuseImages(request.messages);
  const target = await model.adapters.target(request.model, signal);
  const constraint = request.constraint && constraintOf(request.constraint);
  const grammar = constraint && (await model.prompts.compile(constraint.field, constraint.constraint));
  const { prompt, images: places } = await model.prompts.encode(promptInput(request));
  const answers = request.sampling?.n ?? 1;
  model.admission.check(prompt.length * answers, deadlineMs, ahead(model));
  const images = await seenImages(request.messages, places, model, identity.tenant, signal);
  const prepared = { prompt, images, adapter: target.adapter, grammar };
  const requests = toEngineRequests(request, prepared, model.thread.shape.contextLength, identity);
  telemetry.admitted(target.ref, prompt.length);
  const starts = requests.map((one) => (stopped: AbortSignal) => submit(one, request.model, model, stopped));
  const news = new LoadNews();
  let first = true;
  let running = requests.length;
  let outputTokens = 0;
  let cachedTokens = 0;
  for await (const { index, event } of interleaved(starts, signal)) {
    telemetry.step(event);
    outputTokens += event.tokens;
    if (event.found !== undefined) {
      if (index === 0) cachedTokens = event.found;
      // The first token is there: so is the prompt, in the pool.
      model.prefixes.add(prefixKeys({ ...request, model: target.ref, tenant: identity.tenant }));
    }
    if (event.finish === 'error') throw failure(event);
    if (!first && event.text === '' && !event.logprob && !event.finish) continue;
    const reply: GenerateReply = {
      index,
      delta: event.text,
      logprobs: event.logprob ? [tokenLogprob(event.logprob)] : [],
    };
    if (first) reply.model = target.ref;
    first = false;
    if (event.finish) reply.finishReason = event.finish === 'stop' ? FinishReason.STOP : FinishReason.LENGTH;
    if (event.finish && --running === 0)
      reply.usage = { inputTokens: prompt.length, outputTokens, cachedTokens, ...telemetry.timings };
    const load = loadNews(model, news, running === 0);
    if (load) reply.load = load;
    yield reply;
    if (running === 0) return { finishReason: event.finish === 'stop' ? 'stop' : 'length' };
  }
  throw new Error('the model thread ended the request without a reason');
}

/** A constraint that can't be followed any further is the request's own fault. */
function failure({ error, byConstraint }: RequestEvent): Error {
  if (byConstraint) return invalidArgument('constraint', `${error}`);
  return new Error(`the model failed: ${error}`);
}

/** The chat or the text that a request gives. */
export function promptInput({ messages, prompt }: Pick<GenerateRequest, 'messages' | 'prompt'>): PromptInput {
  if (messages.length === 0) return { text: prompt };
  return {
    messages: messages.map(({ role, content, images }) => ({ role, content, images: images.length })),
  };
}

/** Runs the request; an adapter that lost its place to another between being loaded and being used is loaded again. */
export async function* submit(
  request: EngineRequest,
  modelName: string,
  { thread, adapters }: LoadedModel,
  signal: AbortSignal,
): AsyncGenerator<RequestEvent> {
  for (let attempt = 1; ; attempt++) {
    try {
      return yield* thread.generate(request, signal);
    } catch (error) {
      const lost = error instanceof RefusedError && error.refusal === 'adapter-missing';
      if (!lost || attempt === MOST_ATTEMPTS) throw error;
      request.adapter = (await adapters.target(modelName, signal)).adapter;
    }
  }
}

function tokenLogprob(
  token: DescribedToken & { top?: DescribedToken[] },
): MessageInitShape<typeof TokenLogprobSchema> {
  const { text, bytes, logprob, top = [] } = token;
  return { token: text, bytes: new Uint8Array(bytes), logprob, top: top.map((t) => tokenLogprob(t)) };
}
