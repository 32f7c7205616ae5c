import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { ImageError } from '@landfall/images/errors.ts';
import { storedImage } from '@landfall/images/stored.ts';
import type { ChatMessage } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { placedParts } from '../engine/image-places.ts';
import type { OpenAiMessage } from './openai-request.ts';

/**
 * Messages as OpenAI's API takes them: images as data URLs in their places, encoded anew, so that they are upright for every
 * server and nothing but pixels is passed on.
 * @throws PromptError, LandfallError INVALID_ARGUMENT naming the field of what can't be read
 */
export async function openAiMessages(messages: readonly ChatMessage[]): Promise<OpenAiMessage[]> {
  return Promise.all(messages.map((message, i) => openAiMessage(message, `messages[${i}]`)));
}

async function openAiMessage({ role, content, images }: ChatMessage, at: string): Promise<OpenAiMessage> {
  if (images.length === 0) return { role, content };
  const urls = await Promise.all(images.map((image, i) => dataUrl(image, `${at}.images[${i}]`)));
  const parts = placedParts({ field: `${at}.content`, content, images: images.length });
  let next = 0;
  return {
    role,
    content: parts.map((part) =>
      part.type === 'text' ? part : { type: 'image_url', image_url: { url: urls[next++]! } },
    ),
  };
}

async function dataUrl(image: Uint8Array, field: string): Promise<string> {
  try {
    const { bytes, mediaType } = await storedImage(image);
    return `data:${mediaType};base64,${Buffer.from(bytes).toString('base64')}`;
  } catch (error) {
    if (error instanceof ImageError) throw invalidArgument(field, error.message);
    throw error;
  }
}
