/** One generation from a validated request to the messages of its stream. */

import { randomBytes, randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { prefixKeys } from '@landfall/common/balancing/prefix-keys.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
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
import type { GenerationTelemetry, Outcome } from './generation-telemetry.ts';
import { ahead, loadMessage } from './load.ts';

export type GenerateReply = MessageInitShape<typeof GenerateResponseSchema>;

const DEFAULT_MAX_TOKENS = 256;
const MOST_ATTEMPTS = 3;

/**
 * Finds the model, encodes the prompt, runs it; yields the first token at once and then whatever is new.
 * @throws PromptError, RefusedError, LandfallError
 */
export async function* runGeneration(
  request: GenerateRequest,
  model: LoadedModel,
  telemetry: GenerationTelemetry,
  { identity, deadlineMs, signal }: Pick<CallContext, 'identity' | 'deadlineMs' | 'signal'>,
): AsyncGenerator<GenerateReply, Outcome> {
  const target = await model.adapters.target(request.model, signal);
  const { prompt } = await model.prompts.encode(promptInput(request));
  model.admission.check(prompt.length, deadlineMs, ahead(model));
  telemetry.admitted(target.ref, prompt.length);
  const { contextLength } = model.thread.shape;
  const engineRequest = toEngineRequest(request, prompt, target.adapter, contextLength, identity);
  let first = true;
  let outputTokens = 0;
  let cachedTokens = 0;
  for await (const event of submit(engineRequest, request.model, model, signal)) {
    telemetry.step(event);
    outputTokens += event.tokens;
    if (event.found !== undefined) {
      cachedTokens = event.found;
      // The first token is there: so is the prompt, in the pool.
      model.prefixes.add(prefixKeys({ ...request, model: target.ref, tenant: identity.tenant }));
    }
    if (event.finish === 'error') throw new Error(`the model failed: ${event.error}`);
    if (!first && event.text === '' && !event.logprob && !event.finish) continue;
    const reply: GenerateReply = {
      delta: event.text,
      logprobs: event.logprob ? [tokenLogprob(event.logprob)] : [],
      load: loadMessage(model),
    };
    if (first) reply.model = target.ref;
    if (!event.finish) yield reply;
    else {
      const finishReason = event.finish === 'stop' ? FinishReason.STOP : FinishReason.LENGTH;
      yield {
        ...reply,
        finishReason,
        usage: { inputTokens: prompt.length, outputTokens, cachedTokens, ...telemetry.timings },
      };
      return { finishReason: event.finish === 'stop' ? 'stop' : 'length' };
    }
    first = false;
  }
  throw new Error('the model thread ended the request without a reason');
}

/** The chat or the text that a request gives. */
export function promptInput({ messages, prompt }: Pick<GenerateRequest, 'messages' | 'prompt'>): PromptInput {
  if (messages.length === 0) return { text: prompt };
  return { messages: messages.map(({ role, content }) => ({ role, content })) };
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

function toEngineRequest(
  request: GenerateRequest,
  prompt: number[],
  adapter: string | undefined,
  contextLength: number,
  { tenant, subject }: Identity,
): EngineRequest {
  const { sampling } = request;
  const room = contextLength - prompt.length;
  return {
    id: randomUUID(),
    prompt,
    adapter,
    tenant,
    client: subject,
    priority: request.priority,
    promptLookup: sampling?.promptLookup,
    sampling: {
      temperature: sampling?.temperature ?? 0,
      topK: sampling?.topK ?? 0,
      topP: sampling?.topP ?? 1,
      seed: sampling?.seed ?? randomBytes(8).readBigUInt64LE(),
      topLogprobs: sampling?.topLogprobs,
    },
    maxTokens: Math.min(sampling?.maxTokens ?? DEFAULT_MAX_TOKENS, room),
    stop: sampling?.stop ?? [],
    ignoreEos: sampling?.ignoreEos ?? false,
  };
}

function tokenLogprob(
  token: DescribedToken & { top?: DescribedToken[] },
): MessageInitShape<typeof TokenLogprobSchema> {
  const { text, bytes, logprob, top = [] } = token;
  return { token: text, bytes: new Uint8Array(bytes), logprob, top: top.map((t) => tokenLogprob(t)) };
}
