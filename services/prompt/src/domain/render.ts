import { create, type JsonObject } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { type ChatMessage, ChatMessageSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { fillTemplate } from './template.ts';
import { variableTexts } from './variables.ts';

/**
 * The turns of a version with values in their places.
 * @throws LandfallError INVALID_ARGUMENT for a value that does not fit, or a result beyond `maxLength` characters
 */
export function render(draft: PromptDraft, given: JsonObject, maxLength: number): ChatMessage[] {
  const values = variableTexts(draft.variables, given);
  const messages = draft.messages.map(({ role, template }) =>
    create(ChatMessageSchema, { role, content: fillTemplate(template, values) }),
  );
  const length = messages.reduce((sum, message) => sum + message.content.length, 0);
  if (length > maxLength) {
    throw invalidArgument(
      'variables',
      `the rendered prompt has ${length} characters; at most ${maxLength} are taken`,
    );
  }
  return messages;
}
