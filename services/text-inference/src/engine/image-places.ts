/** Where images stand in a chat: what callers write, what templates take, what becomes of it among the tokens. */

import { PromptError } from './prompt.ts';

/** How a caller says where an image stands, whatever the model's own token is called. */
export const IMAGE_PLACE = '<image>';

export type TemplatePart = { type: 'image' } | { type: 'text'; text: string };

/** A message as chat templates take it: one text, or parts of it, the way that those who wrote the template chose. */
export interface TemplateMessage {
  role: string;
  content: string | TemplatePart[];
}

const PROBE = 'landfall-part';

/** Whether a chat template takes the parts of a message one by one, and puts in the image token itself. */
export function rendersParts(render: (messages: TemplateMessage[]) => string, imageToken: string): boolean {
  try {
    const chat = render([{ role: 'user', content: [{ type: 'image' }, { type: 'text', text: PROBE }] }]);
    return chat.includes(PROBE) && chat.includes(imageToken);
  } catch {
    return false;
  }
}

/** A message's text, the field that it came in, and how many images the message brings. */
export interface ShowingText {
  field: string;
  content: string;
  images: number;
}

/**
 * A message's content with its images in their places; those without one stand before the text, each on a line of its own.
 * @param clean breaks special tokens in a caller's text
 * @throws PromptError where there are more places than images
 */
export function placedImages(
  showing: ShowingText,
  imageToken: string,
  clean: (text: string) => string,
  byParts: boolean,
): string | TemplatePart[] {
  if (byParts) return placedParts(showing, clean);
  const { texts, unplaced } = split(showing);
  return `${imageToken}\n`.repeat(unplaced) + texts.map(clean).join(imageToken);
}

/** The same as parts, texts and images as they follow one another. @throws PromptError */
export function placedParts(showing: ShowingText, clean = (text: string) => text): TemplatePart[] {
  const { texts, unplaced } = split(showing);
  const image: TemplatePart = { type: 'image' };
  const parts = new Array<TemplatePart>(unplaced).fill(image);
  for (const [i, text] of texts.entries()) {
    if (i > 0) parts.push(image);
    if (text !== '') parts.push({ type: 'text', text: clean(text) });
  }
  return parts;
}

/** What stands between a text's places, and how many images have none. @throws PromptError */
function split({ field, content, images }: ShowingText): { texts: string[]; unplaced: number } {
  const texts = content.split(IMAGE_PLACE);
  const unplaced = images - (texts.length - 1);
  if (unplaced < 0)
    throw new PromptError(
      field,
      `has ${texts.length - 1} places for images (${IMAGE_PLACE}); the message brings ${images}`,
    );
  return { texts, unplaced };
}

/**
 * In the place of every image token the tokens that its image takes.
 * @param images of each image, in their order
 * @throws PromptError where the template has left images out, or put in more
 */
export function expandImages(
  ids: readonly number[],
  images: readonly (readonly number[])[],
  token: number,
): { prompt: number[]; images: number[] } {
  const prompt: number[] = [];
  const at: number[] = [];
  for (const id of ids) {
    if (id !== token) {
      prompt.push(id);
      continue;
    }
    const own = images[at.length] ?? [];
    at.push(prompt.length);
    for (const each of own) prompt.push(each);
  }
  if (at.length !== images.length)
    throw new PromptError(
      'messages',
      `the model's chat template puts in ${at.length} images where ${images.length} are given`,
    );
  return { prompt, images: at };
}
