import { invalidArgument } from '@landfall/common/errors/errors.ts';

/** A turn of a visual chat. */
export interface Turn {
  role: string;
  content: string;
  images: readonly Uint8Array[];
}

const PLACE = '<image>';

const placesOf = ({ content, images }: Turn): number =>
  Math.max(0, content.split(PLACE).length - 1 - images.length);

/**
 * Gives the images of a whole chat to the turns in which they stand: each `<image>` that has none of its own takes the
 * next, and what is left stands before the last question.
 * @throws LandfallError INVALID_ARGUMENT for more places than images, or images without a question
 */
export function withImages(turns: readonly Turn[], images: readonly Uint8Array[]): Turn[] {
  const places = turns.reduce((sum, turn) => sum + placesOf(turn), 0);
  if (places > images.length) {
    throw invalidArgument('images', `${places} places say ${PLACE} and ${images.length} images are given`);
  }
  const left = images.slice(places);
  const last = turns.findLastIndex(({ role }) => role === 'user');
  if (left.length > 0 && last < 0) {
    throw invalidArgument('messages', 'a question is needed for the images: give a message of the user');
  }
  let next = 0;
  return turns.map((turn, i) => {
    const own = images.slice(next, next + placesOf(turn));
    next += own.length;
    return { ...turn, images: [...(i === last ? left : []), ...turn.images, ...own] };
  });
}
