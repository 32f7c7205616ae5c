import { randomUUID } from 'node:crypto';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import {
  FinishReason,
  type TokenLogprob,
  type Usage,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { GenerateResponse } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { GatewayContext } from '../context.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { type ChatRequest, parseChatRequest } from './chat-request.ts';
import { type AnswerHead, chunk, completion, usageChunk } from './chat-response.ts';
import { readJson, sendJson, toOpenAiError, writer } from './http.ts';

/** `POST /v1/chat/completions`, as one object or as server-sent events. */
export async function chatCompletions(
  context: GatewayContext,
  request: EdgeRequest,
  response: EdgeResponse,
  call: CallContext,
): Promise<void> {
  const chat = parseChatRequest(await readJson(request, context.config.maxMessageBytes));
  const head: AnswerHead = {
    id: `chatcmpl-${randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: chat.deployment,
  };
  const answer = context.replicas.generate({ deployment: chat.deployment }, chat.generate, { context: call });
  if (chat.stream) await sendEvents(context, response, head, chat, answer);
  else await sendWhole(response, head, chat, answer);
}

async function sendWhole(
  response: EdgeResponse,
  head: AnswerHead,
  chat: ChatRequest,
  answer: AsyncIterable<GenerateResponse>,
): Promise<void> {
  let text = '';
  let reason = FinishReason.UNSPECIFIED;
  let usage: Usage | undefined;
  const logprobs: TokenLogprob[] = [];
  for await (const part of answer) {
    text += part.delta;
    logprobs.push(...part.logprobs);
    reason = part.finishReason || reason;
    usage = part.usage ?? usage;
  }
  const wanted = chat.generate.sampling?.topLogprobs !== undefined;
  sendJson(response, 200, completion(head, text, reason, usage!, wanted ? logprobs : undefined));
}

async function sendEvents(
  context: GatewayContext,
  response: EdgeResponse,
  head: AnswerHead,
  chat: ChatRequest,
  answer: AsyncIterable<GenerateResponse>,
): Promise<void> {
  const out = writer(response);
  const send = async (body: unknown) => {
    if (!out.headersSent) {
      out.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' });
    }
    const data = typeof body === 'string' ? body : JSON.stringify(body);
    if (out.write(`data: ${data}\n\n`)) return;
    await new Promise<void>((resolve) => {
      out.once('drain', resolve);
      out.once('close', resolve);
    });
  };
  let usage: Usage | undefined;
  let first = true;
  try {
    for await (const part of answer) {
      usage = part.usage ?? usage;
      // The role opens the answer once there is one: a failure before it still gets its own HTTP status.
      if (first) await send(chunk(head, { role: 'assistant', content: '' }, FinishReason.UNSPECIFIED));
      first = false;
      if (part.delta || part.logprobs.length > 0) {
        await send(chunk(head, { content: part.delta }, FinishReason.UNSPECIFIED, part.logprobs));
      }
      if (part.finishReason) await send(chunk(head, {}, part.finishReason));
    }
    if (chat.includeUsage && usage) await send(usageChunk(head, usage));
    await send('[DONE]');
  } catch (cause) {
    if (!out.headersSent) throw cause;
    // The status is gone: clients read an error object in the stream.
    await send(toOpenAiError(cause, (unknown) => context.logger.error({ err: unknown }, 'chat failed')).body);
  }
  out.end();
}
