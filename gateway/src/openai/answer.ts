import { randomUUID } from 'node:crypto';
import { targetOf } from '@landfall/common/balancing/target.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { Usage } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type {
  GenerateRequest,
  GenerateResponse,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeResponse } from '../edge/one-port.ts';
import { Choices } from './choices.ts';
import { toOpenAiError } from './errors.ts';
import { EventStream } from './event-stream.ts';
import type { AnswerFormat, AnswerHead } from './format.ts';
import { sendJson } from './http.ts';
import { inParams, type OpenAiRequest } from './request.ts';

/** Asks a replica and answers in a route's format, as one object or as server-sent events. */
export async function answer(
  context: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  request: OpenAiRequest,
  format: AnswerFormat,
): Promise<void> {
  // An answer that is given again has the name and the time that it had.
  const head = (): AnswerHead => {
    const { id, createdMs } = governed.flow.answer ?? { id: randomUUID(), createdMs: Date.now() };
    return { id: `${format.id}-${id}`, created: Math.floor(createdMs / 1000), model: request.model };
  };
  const parts = ask(context, call, governed, request);
  if (request.stream) await sendEvents(context, response, head, request, format, parts);
  else await sendWhole(response, head, request, format, parts);
}

async function* ask(
  { replicas }: GatewayContext,
  call: CallContext,
  governed: Governed,
  request: OpenAiRequest,
): AsyncGenerator<GenerateResponse> {
  // Rights and prices go by the model's name.
  const message = { ...request.generate, model: request.model };
  try {
    yield* governed.stream(
      message,
      (passed, signal) =>
        replicas.generate(targetOf(request.model), passed as GenerateRequest, {
          context: signal ? { ...call, signal, deadlineMs: Number.POSITIVE_INFINITY } : call,
        }),
      request.stream ? 'as they come' : 'at the end',
    );
  } catch (cause) {
    throw inParams(cause, request);
  }
}

async function sendWhole(
  response: EdgeResponse,
  head: () => AnswerHead,
  request: OpenAiRequest,
  format: AnswerFormat,
  parts: AsyncIterable<GenerateResponse>,
): Promise<void> {
  const choices = new Choices(request);
  let usage: Usage | undefined;
  for await (const part of parts) {
    choices.add(part);
    usage = part.usage ?? usage;
  }
  if (!usage) throw new Error('a replica ended its answer without saying so');
  sendJson(response, 200, format.whole(head(), choices.all, usage));
}

async function sendEvents(
  context: GatewayContext,
  response: EdgeResponse,
  headOf: () => AnswerHead,
  request: OpenAiRequest,
  format: AnswerFormat,
  parts: AsyncIterable<GenerateResponse>,
): Promise<void> {
  const out = new EventStream(response);
  const choices = new Choices(request);
  let usage: Usage | undefined;
  let known: AnswerHead | undefined;
  const headNow = () => {
    known ??= { ...headOf(), ...(request.includeUsage ? { usage: null } : {}) };
    return known;
  };
  try {
    for await (const part of parts) {
      const head = headNow();
      usage = part.usage ?? usage;
      const opening = choices.has(part.index) ? undefined : format.opening(head, part.index);
      if (opening) await out.send(opening);
      const choice = choices.add(part);
      if (choice.text || choice.logprobs) await out.send(format.part(head, choice));
      if (part.finishReason) await out.send(format.end(head, choices.end(part)));
    }
    if (!usage) throw new Error('a replica ended its answer without saying so');
    if (request.includeUsage) await out.send(format.usage(headNow(), usage));
    await out.send('[DONE]');
  } catch (cause) {
    if (!out.begun) throw cause;
    // The status is gone: clients read an error object in the stream.
    const log = (unknown: unknown) => context.logger.error({ err: unknown }, 'an answer failed');
    await out.send(toOpenAiError(cause, log).body);
  }
  out.end();
}
