import { createHash } from 'node:crypto';
import { create, fromJsonString, toJson, toJsonString } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { type Variable, VariableSchema, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { type PromptDraft, PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { templateVariables } from './template.ts';
import { checked } from './variables.ts';

/**
 * A draft with its variables filled in and checked against its turns.
 * @throws LandfallError INVALID_ARGUMENT for a place without a variable, two variables of one name, a default that does
 *   not fit, an enumeration without values
 */
export function checkDraft(draft: PromptDraft): PromptDraft {
  const used = new Set(draft.messages.flatMap((message) => templateVariables(message.template)));
  if (draft.variables.length === 0) {
    const variables = [...used].map((name) =>
      create(VariableSchema, { name, type: VariableType.STRING, required: true }),
    );
    return create(PromptDraftSchema, { ...draft, variables });
  }
  const declared = new Set<string>();
  for (const [i, variable] of draft.variables.entries()) {
    if (declared.has(variable.name))
      throw invalidArgument(`draft.variables[${i}].name`, `'${variable.name}' is declared twice`);
    declared.add(variable.name);
    checkVariable(variable, `draft.variables[${i}]`);
  }
  for (const name of used) {
    if (!declared.has(name)) {
      throw invalidArgument(
        'draft.messages',
        `{${name}} is no declared variable; declare it, or write {{${name}}} for text`,
      );
    }
  }
  return draft;
}

function checkVariable(variable: Variable, field: string): void {
  if (variable.type === VariableType.ENUM && variable.enumValues.length === 0) {
    throw invalidArgument(`${field}.enum_values`, 'an enumeration needs values');
  }
  if (variable.defaultValue) checked(variable, toJson(ValueSchema, variable.defaultValue));
}

export const storeDraft = (draft: PromptDraft): string => toJsonString(PromptDraftSchema, draft);
export const loadDraft = (content: string): PromptDraft => fromJsonString(PromptDraftSchema, content);

/** sha256 over what a version does: turns, variables, sampling; not over what is said about it. */
export function draftDigest(draft: PromptDraft): string {
  const content = storeDraft(create(PromptDraftSchema, { ...draft, changeLog: '' }));
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
