import type { MessageInitShape } from '@bufbuild/protobuf';
import type { ChatMessageSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { isEmptyList, type Json, optionalBoolean, optionalInteger, record, refuse } from './body.ts';
import { BadRequest } from './errors.ts';
import { type ContentPart, type NamedImage, placedContent, readImages } from './image-parts.ts';
import type { ImageReader } from './image-reader.ts';
import { type OpenAiRequest, openAiRequest } from './request.ts';
import { MOST_TOKENS, samplingOptions } from './sampling.ts';

/**
 * Reads the body of `POST /v1/chat/completions`. What is of no use here (`user`, `metadata`, ...) is ignored.
 * @param read brings the images that it names, when all else is known to be right
 * @throws BadRequest that names the parameter.
 */
export async function parseChatRequest(value: unknown, read: ImageReader): Promise<OpenAiRequest> {
  const body = record(value, 'body');
  refuseUnserved(body);
  const logprobs = optionalBoolean(body, 'logprobs');
  const topLogprobs = optionalInteger(body, 'top_logprobs', 0, 20);
  if (topLogprobs !== undefined && !logprobs) throw new BadRequest('top_logprobs', 'needs logprobs: true');
  const { turns, images } = messages(body);
  const request = openAiRequest(body, {
    messages: turns,
    sampling: {
      ...samplingOptions(body),
      maxTokens:
        optionalInteger(body, 'max_completion_tokens', 1, MOST_TOKENS) ??
        optionalInteger(body, 'max_tokens', 1, MOST_TOKENS),
      topLogprobs: logprobs ? (topLogprobs ?? 0) : undefined,
    },
  });
  await readImages(request.generate.messages, images, read);
  return request;
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

function messages(body: Json): {
  turns: MessageInitShape<typeof ChatMessageSchema>[];
  images: NamedImage[];
} {
  if (!Array.isArray(body.messages) || body.messages.length === 0) {
    throw new BadRequest('messages', 'must be a list with at least one message');
  }
  const images: NamedImage[] = [];
  const turns = body.messages.map((value, i) => {
    const message = record(value, `messages[${i}]`);
    // `developer` is what newer clients call the system's turn.
    const role = message.role === 'developer' ? 'system' : message.role;
    if (role !== 'system' && role !== 'user' && role !== 'assistant') {
      throw new BadRequest(`messages[${i}].role`, 'must be system, user or assistant');
    }
    refuse(message, 'tool_calls', isEmptyList, 'tools are not served');
    const parts = contentParts(message.content, `messages[${i}].content`);
    const own = parts.filter((part) => typeof part !== 'string');
    if (own.length > 0 && role !== 'user')
      throw new BadRequest(`messages[${i}].content`, 'only messages of the user bring images');
    images.push(...own.map((image) => ({ ...image, message: i })));
    return { role, content: placedContent(parts) };
  });
  return { turns, images };
}

/** Texts and images of a message, in their order. */
function contentParts(content: unknown, param: string): ContentPart[] {
  if (typeof content === 'string') return [content];
  if (!Array.isArray(content)) throw new BadRequest(param, 'must be a string or a list of parts');
  return content.map((part, i) => {
    const { type, text, image_url: image } = record(part, `${param}[${i}]`);
    if (type === 'text' && typeof text === 'string') return text;
    if (type !== 'image_url') throw new BadRequest(`${param}[${i}].type`, 'must be text or image_url');
    const { url } = record(image, `${param}[${i}].image_url`);
    const name = `${param}[${i}].image_url.url`;
    if (typeof url !== 'string') throw new BadRequest(name, 'must be a string');
    return { url, param: name };
  });
}
