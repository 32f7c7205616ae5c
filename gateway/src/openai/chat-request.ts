import { create } from '@bufbuild/protobuf';
import { ChatMessageSchema, SamplingOptionsSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  type GenerateRequest,
  GenerateRequestSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { BadChatRequest } from './errors.ts';

/** A chat completion as it was asked for, in the mesh's own terms. */
export interface ChatRequest {
  /** Name of a deployment. */
  deployment: string;
  stream: boolean;
  /** Whether a stream ends with a chunk of token counts. */
  includeUsage: boolean;
  generate: GenerateRequest;
}

type Json = Record<string, unknown>;

function record(value: unknown, param: string): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new BadChatRequest(param, 'must be an object');
  }
  return value as Json;
}

function optionalNumber(body: Json, param: string, low: number, high: number): number | undefined {
  const value = body[param];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < low || value > high) {
    throw new BadChatRequest(param, `must be a number from ${low} to ${high}`);
  }
  return value;
}

function optionalInteger(body: Json, param: string, low: number, high: number): number | undefined {
  const value = optionalNumber(body, param, low, high);
  if (value !== undefined && !Number.isInteger(value))
    throw new BadChatRequest(param, 'must be a whole number');
  return value;
}

function optionalBoolean(body: Json, param: string): boolean {
  const value = body[param];
  if (value === undefined || value === null) return false;
  if (typeof value !== 'boolean') throw new BadChatRequest(param, 'must be true or false');
  return value;
}

/** Text content, or the text parts of a list of parts. */
function contentText(content: unknown, param: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw new BadChatRequest(param, 'must be a string or a list of parts');
  return content
    .map((part, i) => {
      const { type, text } = record(part, `${param}[${i}]`);
      if (type !== 'text' || typeof text !== 'string') {
        throw new BadChatRequest(`${param}[${i}].type`, 'only text parts are answered by text models');
      }
      return text;
    })
    .join('');
}

function messages(body: Json): GenerateRequest['messages'] {
  if (!Array.isArray(body.messages) || body.messages.length === 0) {
    throw new BadChatRequest('messages', 'must be a list with at least one message');
  }
  return body.messages.map((value, i) => {
    const message = record(value, `messages[${i}]`);
    // `developer` is what newer clients call the system's turn.
    const role = message.role === 'developer' ? 'system' : message.role;
    if (role !== 'system' && role !== 'user' && role !== 'assistant') {
      throw new BadChatRequest(`messages[${i}].role`, 'must be system, user or assistant');
    }
    return create(ChatMessageSchema, {
      role,
      content: contentText(message.content, `messages[${i}].content`),
    });
  });
}

function stopStrings(body: Json): string[] {
  const { stop } = body;
  if (stop === undefined || stop === null) return [];
  const list = Array.isArray(stop) ? stop : [stop];
  if (list.length > 16 || list.some((s) => typeof s !== 'string' || s.length === 0 || s.length > 256)) {
    throw new BadChatRequest('stop', 'must be up to 16 strings of 1 to 256 characters');
  }
  return list as string[];
}

/** What is known of the API and not served by this route yet is refused by name, never ignored. */
function refuseUnserved(body: Json): void {
  if (Array.isArray(body.tools) && body.tools.length > 0)
    throw new BadChatRequest('tools', 'tools are not served');
  if ((optionalInteger(body, 'n', 1, 128) ?? 1) !== 1) throw new BadChatRequest('n', 'only 1 is served');
  for (const param of ['frequency_penalty', 'presence_penalty']) {
    if (optionalNumber(body, param, -2, 2)) throw new BadChatRequest(param, 'only 0 is served');
  }
  if (body.logit_bias && Object.keys(record(body.logit_bias, 'logit_bias')).length > 0) {
    throw new BadChatRequest('logit_bias', 'is not served');
  }
  const format = body.response_format;
  if (format !== undefined && format !== null && record(format, 'response_format').type !== 'text') {
    throw new BadChatRequest('response_format', 'only {"type":"text"} is served');
  }
}

/**
 * Reads the body of `POST /v1/chat/completions`.
 * Defaults are OpenAI's (temperature 1, top_p 1) where they are given no value.
 * @throws BadChatRequest that names the parameter.
 */
export function parseChatRequest(value: unknown): ChatRequest {
  const body = record(value, 'body');
  if (
    typeof body.model !== 'string' ||
    !/^[a-z0-9]+([._-][a-z0-9]+)*$/.test(body.model) ||
    body.model.length > 64
  ) {
    throw new BadChatRequest('model', 'must be the name of a deployment; GET /v1/models lists them');
  }
  refuseUnserved(body);
  const stream = optionalBoolean(body, 'stream');
  const logprobs = optionalBoolean(body, 'logprobs');
  const topLogprobs = optionalInteger(body, 'top_logprobs', 0, 20);
  if (topLogprobs !== undefined && !logprobs)
    throw new BadChatRequest('top_logprobs', 'needs logprobs: true');
  const seed = optionalInteger(body, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  const sampling = create(SamplingOptionsSchema, {
    temperature: optionalNumber(body, 'temperature', 0, 2) ?? 1,
    topP: optionalNumber(body, 'top_p', Number.MIN_VALUE, 1),
    topK: optionalInteger(body, 'top_k', 0, 1_000_000),
    maxTokens:
      optionalInteger(body, 'max_completion_tokens', 1, 131_072) ??
      optionalInteger(body, 'max_tokens', 1, 131_072),
    seed: seed === undefined ? undefined : BigInt.asUintN(64, BigInt(seed)),
    stop: stopStrings(body),
    topLogprobs: logprobs ? (topLogprobs ?? 0) : undefined,
    ignoreEos: optionalBoolean(body, 'ignore_eos'),
  });
  const streamOptions = body.stream_options == null ? {} : record(body.stream_options, 'stream_options');
  return {
    deployment: body.model,
    stream,
    includeUsage: optionalBoolean(streamOptions, 'include_usage'),
    generate: create(GenerateRequestSchema, { messages: messages(body), sampling }),
  };
}
