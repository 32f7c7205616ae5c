import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ChatMessageSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { isEmptyList, type Json, optionalBoolean, optionalInteger, record, refuse } from './body.ts';
import { BadRequest } from './errors.ts';
import { type OpenAiRequest, openAiRequest } from './request.ts';
import { MOST_TOKENS, samplingOptions } from './sampling.ts';

/**
 * Reads the body of `POST /v1/chat/completions`. What is of no use here (`user`, `metadata`, ...) is ignored.
 * @throws BadRequest that names the parameter.
 */
export function parseChatRequest(value: unknown): OpenAiRequest {
  const body = record(value, 'body');
  refuseUnserved(body);
  const logprobs = optionalBoolean(body, 'logprobs');
  const topLogprobs = optionalInteger(body, 'top_logprobs', 0, 20);
  if (topLogprobs !== undefined && !logprobs) throw new BadRequest('top_logprobs', 'needs logprobs: true');
  return openAiRequest(body, {
    messages: messages(body),
    sampling: {
      ...samplingOptions(body),
      maxTokens:
        optionalInteger(body, 'max_completion_tokens', 1, MOST_TOKENS) ??
        optionalInteger(body, 'max_tokens', 1, MOST_TOKENS),
      topLogprobs: logprobs ? (topLogprobs ?? 0) : undefined,
    },
  });
}

function refuseUnserved(body: Json): void {
  refuse(body, 'tools', isEmptyList, 'tools are not served');
  refuse(body, 'functions', isEmptyList, 'functions are not served');
  refuse(body, 'tool_choice', (choice) => choice === 'none' || choice === 'auto', 'tools are not served');
  refuse(body, 'audio', () => false, 'audio is not served');
  refuse(body, 'web_search_options', () => false, 'web search is not served');
  const isText = (value: unknown) => Array.isArray(value) && value.every((each) => each === 'text');
  refuse(body, 'modalities', isText, 'only text is served');
}

function messages(body: Json): MessageInitShape<typeof ChatMessageSchema>[] {
  if (!Array.isArray(body.messages) || body.messages.length === 0) {
    throw new BadRequest('messages', 'must be a list with at least one message');
  }
  return body.messages.map((value, i) => {
    const message = record(value, `messages[${i}]`);
    // `developer` is what newer clients call the system's turn.
    const role = message.role === 'developer' ? 'system' : message.role;
    if (role !== 'system' && role !== 'user' && role !== 'assistant') {
      throw new BadRequest(`messages[${i}].role`, 'must be system, user or assistant');
    }
    refuse(message, 'tool_calls', isEmptyList, 'tools are not served');
    return { role, content: contentText(message.content, `messages[${i}].content`) };
  });
}

/** Text content, or the text parts of a list of parts. */
function contentText(content: unknown, param: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) throw new BadRequest(param, 'must be a string or a list of parts');
  return content
    .map((part, i) => {
      const { type, text } = record(part, `${param}[${i}]`);
      if (type !== 'text' || typeof text !== 'string') {
        throw new BadRequest(`${param}[${i}].type`, 'only text parts are answered by text models');
      }
      return text;
    })
    .join('');
}
