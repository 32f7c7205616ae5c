import { createHash } from 'node:crypto';
import { create, fromJsonString, toJson, toJsonString } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { invalidArgument, LandfallError } from '@landfall/common/errors/errors.ts';
import {
  TemplateFormat,
  TemplateMessageSchema,
  type Variable,
  VariableSchema,
  VariableType,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { type PromptDraft, PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { checkExamples, checkFewShot } from './few-shot.ts';
import { linearRegex } from './linear-regex.ts';
import { checkContract } from './output-contract.ts';
import { allVariables, NO_PARTS, type Parts } from './parts.ts';
import { readTemplate } from './read-template.ts';
import { EXAMPLES } from './template.ts';
import { checked, variableValues } from './variables.ts';

/**
 * A draft with its variables filled in and checked against its turns.
 * @param parts what it puts in: see `prepareDraft`
 * @throws LandfallError INVALID_ARGUMENT for a turn that can't be read, a place without a variable, two variables of one
 *   name, a default or example that does not fit, limits that nothing keeps, an enumeration without values, a contract
 *   that nothing keeps
 */
export function checkDraft(given: PromptDraft, parts: Parts = NO_PARTS): PromptDraft {
  const turned = withTurns(given);
  if (turned.outputContract) checkContract(turned.outputContract);
  const used = usedNames(turned);
  const draft = turned.variables.length === 0 ? withVariables(turned, used) : turned;
  const declared = new Set<string>();
  for (const [i, variable] of draft.variables.entries()) {
    if (declared.has(variable.name))
      throw invalidArgument(`draft.variables[${i}].name`, `'${variable.name}' is declared twice`);
    declared.add(variable.name);
    checkVariable(variable, `draft.variables[${i}]`);
  }
  const simple = draft.format !== TemplateFormat.JINJA;
  for (const [name, field] of used) {
    if (declared.has(name) || (name === EXAMPLES && draft.fewShot)) continue;
    const way = simple ? `, or write {{${name}}} for text` : ' or set it';
    throw invalidArgument(
      field,
      `${simple ? `{${name}}` : `'${name}'`} is no declared variable; declare it${way}`,
    );
  }
  const variables = allVariables(draft, parts);
  checkFewShot(draft, variables, used.has(EXAMPLES));
  if (draft.fewShot) checkExamples(draft.fewShot, variables, fits);
  for (const [i, test] of draft.tests.entries()) {
    fits(`draft.tests[${i}].variables`, () => variableValues(variables, test.variables ?? {}));
  }
  return draft;
}

/** Names that the turns use, with the field of the first that does. */
function usedNames({ messages, format }: PromptDraft): Map<string, string> {
  const used = new Map<string, string>();
  for (const [i, { template }] of messages.entries()) {
    const field = `draft.messages[${i}].template`;
    for (const name of readTemplate(format, template, field).variables)
      if (!used.has(name)) used.set(name, field);
  }
  return used;
}

function withVariables(draft: PromptDraft, used: ReadonlyMap<string, string>): PromptDraft {
  const names = [...used.keys()].filter((name) => name !== EXAMPLES || !draft.fewShot);
  const variables = names.map((name) =>
    create(VariableSchema, { name, type: VariableType.STRING, required: true }),
  );
  return create(PromptDraftSchema, { ...draft, variables });
}

/** A text prompt is a chat of one turn. */
export function withTurns(draft: PromptDraft): PromptDraft {
  if (draft.text === '') return draft;
  const messages = [create(TemplateMessageSchema, { role: 'user', template: draft.text })];
  return create(PromptDraftSchema, { ...draft, messages, text: '' });
}

function checkVariable(variable: Variable, field: string): void {
  const { type, minimum, maximum } = variable;
  if (type === VariableType.ENUM && variable.enumValues.length === 0) {
    throw invalidArgument(`${field}.enum_values`, 'an enumeration needs values');
  }
  const isText = type === VariableType.STRING || type === VariableType.UNSPECIFIED;
  if (variable.pattern !== '') {
    if (!isText) throw invalidArgument(`${field}.pattern`, 'is for texts only');
    linearRegex(variable.pattern, `${field}.pattern`);
  }
  const hasBounds = minimum !== undefined || maximum !== undefined || variable.integer;
  if (hasBounds && type !== VariableType.NUMBER)
    throw invalidArgument(field, 'minimum, maximum and integer are for numbers only');
  if (minimum !== undefined && maximum !== undefined && minimum > maximum) {
    throw invalidArgument(`${field}.minimum`, `is ${minimum} and beyond the maximum ${maximum}`);
  }
  if (variable.maxItems > 0 && type !== VariableType.LIST)
    throw invalidArgument(`${field}.max_items`, 'is for lists only');
  if (variable.defaultValue) {
    const value = toJson(ValueSchema, variable.defaultValue);
    fits(`${field}.default_value`, () => checked(variable, value));
  }
  for (const [i, example] of variable.examples.entries()) {
    const value = toJson(ValueSchema, example);
    fits(`${field}.examples[${i}]`, () => checked(variable, value));
  }
}

/** What a call would be refused for is wrong in the draft, at its own place. */
function fits(field: string, check: () => void): void {
  try {
    check();
  } catch (cause) {
    if (!(cause instanceof LandfallError)) throw cause;
    const [violation] = cause.fieldViolations;
    const place = field.endsWith('.variables') ? violation?.field.replace(/^variables/, '') : '';
    throw invalidArgument(`${field}${place ?? ''}`, violation?.description ?? cause.message, { cause });
  }
}

export const storeDraft = (draft: PromptDraft): string => toJsonString(PromptDraftSchema, draft);
export const loadDraft = (content: string): PromptDraft => fromJsonString(PromptDraftSchema, content);

/** sha256 over all that a version holds except its change log. */
export function draftDigest(draft: PromptDraft): string {
  const content = storeDraft(create(PromptDraftSchema, { ...draft, changeLog: '' }));
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
