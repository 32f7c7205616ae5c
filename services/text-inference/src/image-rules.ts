/** What a request may show to the model that answers it. */

import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { ChatMessage } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { LoadedModel } from './context.ts';
import type { EncodedImage } from './engine/seeing-thread.ts';
import type { PromptImage } from './engine/sequence.ts';

/**
 * What the model reads in the place of a chat's images, in their order.
 * @param places where each begins in the prompt
 * @throws PromptError naming the field of an image that can't be read
 */
export async function seenImages(
  messages: readonly Pick<ChatMessage, 'images'>[],
  places: readonly number[],
  { images: thread }: Pick<LoadedModel, 'images'>,
  tenant: string,
  signal: AbortSignal,
): Promise<PromptImage[]> {
  if (!thread) return [];
  const seen = await thread.see(tenant, encodedImages(messages), signal);
  return seen.map((image, i) => ({ at: places[i]!, ...image }));
}

/** Images of a chat in their order, by the fields that they came in. */
export function encodedImages(messages: readonly Pick<ChatMessage, 'images'>[]): EncodedImage[] {
  return messages.flatMap(({ images }, m) =>
    images.map((bytes, i) => ({ field: `messages[${m}].images[${i}]`, bytes: new Uint8Array(bytes) })),
  );
}

/** For a model that reads text alone. @throws LandfallError that names the first message with images */
export function refuseImages(messages: readonly Pick<ChatMessage, 'images'>[]): void {
  const at = messages.findIndex(({ images }) => images.length > 0);
  if (at >= 0)
    throw invalidArgument(`messages[${at}].images`, 'this model reads text alone: ask one that reads images');
}
