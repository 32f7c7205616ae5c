import { create, fromJson, type JsonObject, type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Change, ChangeSchema } from '@landfall/proto/landfall/prompt/v1/change_pb.js';
import {
  FieldsContract_FieldSchema,
  type OutputContract,
  OutputContractSchema,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import { ChangeKind, TemplateFormat } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { type PromptDraft, PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { changed, type Found, json } from './change.ts';
import { variableChanges } from './variable-changes.ts';

const { MAJOR, MINOR, PATCH } = ChangeKind;

/**
 * What a draft does otherwise than another, part by part, each with its weight for callers: MAJOR breaks a call or a
 * reader of answers, MINOR shows the model something else, PATCH is said about it only. The change log is no change.
 */
export function changesBetween(before: PromptDraft, after: PromptDraft): Found[] {
  const found = variableChanges(before.variables, after.variables);
  const [was, is] = [toJson(PromptDraftSchema, before), toJson(PromptDraftSchema, after)] as JsonObject[];
  const note = (
    path: string,
    kind: ChangeKind,
    why: string,
    a: JsonValue | undefined,
    b: JsonValue | undefined,
  ) => {
    if (json(a) !== json(b)) found.push(changed(path, kind, why, a, b));
  };
  for (let i = 0; i < Math.max(before.messages.length, after.messages.length); i++) {
    const [a, b] = [messageOf(was!, i), messageOf(is!, i)];
    note(`messages[${i}].role`, MINOR, 'the model is told by another', a?.role, b?.role);
    note(`messages[${i}].template`, MINOR, 'the model is told something else', a?.template, b?.template);
  }
  const [format, nextFormat] = [formatOf(before), formatOf(after)];
  note('format', MINOR, 'the turns are read otherwise', format, nextFormat);
  found.push(...contractChanges(before.outputContract, after.outputContract));
  note('few_shot', MINOR, 'the model is shown other examples', was!.fewShot, is!.fewShot);
  note('sampling', MINOR, 'tokens are chosen otherwise', was!.sampling, is!.sampling);
  note(
    'self_consistency',
    MINOR,
    'another number of samples votes',
    was!.selfConsistency,
    is!.selfConsistency,
  );
  note('tests', PATCH, 'it is measured otherwise', was!.tests, is!.tests);
  return found;
}

const messageOf = (draft: JsonObject, i: number) =>
  ((draft.messages ?? []) as { role: string; template: string }[])[i];
const formatOf = ({ format }: PromptDraft) => TemplateFormat[format || TemplateFormat.SIMPLE]!;

/** Whoever reads the answers relies on their form; what is said about it, and how it is enforced, is no part of that. */
function contractChanges(before: OutputContract | undefined, after: OutputContract | undefined): Found[] {
  const shown = (one: OutputContract | undefined) => one && toJson(OutputContractSchema, one);
  const [was, is] = [shown(before), shown(after)];
  if (json(was) === json(is)) return [];
  const [form, nextForm] = [formOf(before), formOf(after)];
  if (form !== nextForm) return [changed('output_contract', MAJOR, 'answers have another form', was, is)];
  if ((before?.unconstrained ?? false) !== (after?.unconstrained ?? false)) {
    return [changed('output_contract', MINOR, 'decoding is held to it otherwise', was, is)];
  }
  return [changed('output_contract', PATCH, 'what is said about the same form', was, is)];
}

function formOf(contract: OutputContract | undefined): string {
  if (!contract) return '';
  const { kind } = contract;
  if (kind.case === 'jsonSchema') return `schema ${schemaForm(kind.value)}`;
  if (kind.case !== 'fields')
    return json(toJson(OutputContractSchema, { ...contract, unconstrained: false }));
  const fields = kind.value.fields.map((field) => ({
    ...field,
    label: field.label || field.name,
    description: '',
  }));
  return json([
    kind.value.freeTextBefore,
    ...fields.map((field) => toJson(FieldsContract_FieldSchema, field)),
  ]);
}

/** White space and the order of members are no part of a schema; a draft's need not be JSON yet. */
function schemaForm(text: string): string {
  try {
    return json(JSON.parse(text));
  } catch {
    return text;
  }
}

/** Changes as they are told. */
export const changeReplies = (found: readonly Found[]): Change[] =>
  found.map(({ before, after, ...rest }) =>
    create(ChangeSchema, {
      ...rest,
      ...(before === undefined ? {} : { before: fromJson(ValueSchema, before) }),
      ...(after === undefined ? {} : { after: fromJson(ValueSchema, after) }),
    }),
  );
