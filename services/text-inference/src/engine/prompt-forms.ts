/**
 * Prompts of models without turns: the images stand before one text. PaliGemma reads them as tokens in front of the start
 * token (Beyer et al. 2024), Florence-2 outside of a text that names a task (Xiao et al. 2023).
 */

import { IMAGE_PLACE } from './image-places.ts';
import { PromptError, type PromptInput, type TaskForm } from './prompt.ts';

/**
 * The one text of a chat of a single message, or of a prompt, without the places of its images.
 * @throws PromptError for several messages, other roles, and images that are to stand behind text
 */
export function onlyText(input: PromptInput): { field: string; text: string; images: number } {
  if ('text' in input) {
    if (input.text.includes(IMAGE_PLACE))
      throw new PromptError(
        'prompt',
        `has a place for an image (${IMAGE_PLACE}) and brings none: give messages`,
      );
    return { field: 'prompt', text: input.text, images: 0 };
  }
  const [message, more] = input.messages;
  if (!message || more)
    throw new PromptError(
      'messages',
      `this model answers one message, not a chat; there are ${input.messages.length}`,
    );
  if (message.role !== 'user')
    throw new PromptError('messages[0].role', 'this model takes one message of the role user, no others');
  const field = 'messages[0].content';
  const parts = message.content.split(IMAGE_PLACE);
  const text = parts.pop()!;
  const images = message.images ?? 0;
  if (parts.length > images)
    throw new PromptError(
      field,
      `has ${parts.length} places for images (${IMAGE_PLACE}); the message brings ${images}`,
    );
  if (parts.some((part) => part.trim() !== ''))
    throw new PromptError(
      field,
      `this model reads images before all text: put ${IMAGE_PLACE} at the beginning, or leave it out`,
    );
  return { field, text: parts.length > 0 ? text.trimStart() : text, images };
}

/** The words that a task's name stands for, as Florence2Processor of transformers puts them; other texts as they are. */
export function taskPrompt({ alone, withInput }: TaskForm, text: string): string {
  const name = text.trim();
  if (Object.hasOwn(alone, name)) return alone[name]!;
  for (const [task, words] of Object.entries(withInput)) {
    if (text.includes(task)) return words.replaceAll('{input}', () => text.replaceAll(task, '').trim());
  }
  return text;
}
