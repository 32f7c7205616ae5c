import type { ChatMessage } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { BadRequest } from './errors.ts';
import type { ImageReader } from './image-reader.ts';

/** A text, or an image by its URL and the parameter that names it. */
export type ContentPart = string | { url: string; param: string };

export interface NamedImage {
  url: string;
  param: string;
  /** Index of the message that shows it. */
  message: number;
}

/** What one message may show, by the contract. */
const MOST_OF_A_MESSAGE = 16;
/** What all messages may show together: a request to a replica has at most 64 MiB, texts included. */
const MOST_BYTES = 48 * 1024 * 1024;

/** What marks an image's place in the contract. */
const PLACE = '<image>';

/**
 * A message's text. Images that stand between texts are marked in it; where all of them come first or last, as most clients
 * put them, they stand before the text without a mark, which is where models were trained to find them.
 */
export function placedContent(parts: readonly ContentPart[]): string {
  const texts = parts.filter((part) => typeof part === 'string');
  const isText = parts.map((part) => typeof part === 'string');
  const between = isText.slice(isText.indexOf(true), isText.lastIndexOf(true)).includes(false);
  if (!between) return texts.join('');
  return parts.map((part) => (typeof part === 'string' ? part : PLACE)).join('');
}

/**
 * Brings the images into their messages.
 * @throws BadRequest that names the image
 */
export async function readImages(
  messages: readonly ChatMessage[],
  images: readonly NamedImage[],
  read: ImageReader,
): Promise<void> {
  for (const [i, message] of messages.entries()) {
    const own = images.filter((image) => image.message === i);
    if (own.length > MOST_OF_A_MESSAGE)
      throw new BadRequest(
        own[MOST_OF_A_MESSAGE]!.param,
        `a message shows at most ${MOST_OF_A_MESSAGE} images`,
      );
    message.images = [];
  }
  let bytes = 0;
  // One after the other: what a request may hold at once is bounded, whatever it names.
  for (const { url, param, message } of images) {
    const image = await read(url, param);
    bytes += image.length;
    if (bytes > MOST_BYTES)
      throw new BadRequest(param, `with it the images have more than ${MOST_BYTES} bytes: send them smaller`);
    messages[message]!.images.push(image);
  }
}
