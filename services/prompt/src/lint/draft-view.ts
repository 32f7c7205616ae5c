import {
  FieldsContract_FieldType as FieldType,
  type OutputContract,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import {
  PromptTask,
  TemplateFormat,
  type Variable,
  VariableType,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';

export type Language = 'zh' | 'en';

/** What a check says. `proposal` is made of the draft's own variables and contract. */
export interface Finding {
  principle: 'specific' | 'structured' | 'demonstrated' | 'iterated';
  /** Name of the check. */
  check: string;
  /** The part of the draft that it is about. */
  field: string;
  message: string;
  proposal: string;
}

/** A part of an answer, as the output contract names it. */
export interface AnswerField {
  name: string;
  description: string;
  type: string;
}

/** A draft as its checks look at it. */
export interface DraftView {
  readonly draft: PromptDraft;
  readonly task: PromptTask;
  readonly language: Language;
  /** All turns. */
  readonly text: string;
  /** Labels that answers are chosen from. */
  readonly labels: readonly string[];
  readonly fields: readonly AnswerField[];
  /** A text in the draft's language. */
  say(zh: string, en: string): string;
}

export function viewOf(draft: PromptDraft, asked: PromptTask): DraftView {
  const text = draft.messages.map(({ template }) => template).join('\n\n');
  const language = languageOf(text);
  const contract = draft.outputContract;
  const view = { draft, text, language, labels: labelsOf(draft), fields: fieldsOf(contract) };
  return { ...view, task: asked || taskOf(draft, text), say: (zh, en) => (language === 'zh' ? zh : en) };
}

/** Chinese where a fifth of the letters are Han: its texts hold English names too. */
function languageOf(text: string): Language {
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  const han = text.match(/\p{Script=Han}/gu)?.length ?? 0;
  return han * 5 > letters ? 'zh' : 'en';
}

/** What a draft is for, by its contract first and its words then. */
function taskOf({ outputContract, selfConsistency, variables }: PromptDraft, text: string): PromptTask {
  const kind = outputContract?.kind;
  if (variables.some(({ type }) => type === VariableType.IMAGE)) return PromptTask.INSPECTION;
  if (selfConsistency || (kind?.case === 'fields' && kind.value.freeTextBefore))
    return PromptTask.CHAIN_OF_THOUGHT;
  if (kind?.case === 'oneOf') return PromptTask.CLASSIFICATION;
  if (kind?.case === 'jsonSchema' || kind?.case === 'fields') return PromptTask.EXTRACTION;
  if (/一步一步|逐步|step by step/i.test(text)) return PromptTask.CHAIN_OF_THOUGHT;
  if (/分类|归类|类别|classif|categor/i.test(text)) return PromptTask.CLASSIFICATION;
  if (/提取|抽取|extract/i.test(text)) return PromptTask.EXTRACTION;
  return PromptTask.GENERATION;
}

function labelsOf({ outputContract, fewShot }: PromptDraft): string[] {
  const kind = outputContract?.kind;
  if (kind?.case === 'oneOf') return [...kind.value.options];
  if (kind?.case === 'fields') {
    const choice = kind.value.fields.find(({ type }) => type === FieldType.ENUM);
    if (choice) return [...choice.values];
  }
  return kind?.case ? [] : [...new Set((fewShot?.examples ?? []).map(({ output }) => output.trim()))];
}

function fieldsOf(contract: OutputContract | undefined): AnswerField[] {
  const kind = contract?.kind;
  if (kind?.case === 'fields') {
    return kind.value.fields.map((field) => ({
      name: field.label || field.name,
      description: field.description,
      type:
        field.values.length > 0 ? field.values.join('|') : (FieldType[field.type] ?? 'TEXT').toLowerCase(),
    }));
  }
  if (kind?.case !== 'jsonSchema') return [];
  const schema = JSON.parse(kind.value) as {
    properties?: Record<string, { description?: string; type?: string; enum?: unknown[] }>;
  };
  return Object.entries(schema.properties ?? {}).map(([name, field]) => ({
    name,
    description: String(field.description ?? ''),
    type: field.enum ? field.enum.map(String).join('|') : String(field.type ?? ''),
  }));
}

/** A variable's place in the draft's form. */
export const placeOf = ({ format }: PromptDraft, name: string): string =>
  format === TemplateFormat.JINJA ? `{{ ${name} }}` : `{${name}}`;

export const isFreeText = ({ type }: Variable): boolean =>
  type === VariableType.STRING || type === VariableType.LIST || type === VariableType.UNSPECIFIED;

export const variablePath = (view: DraftView, variable: Variable): string =>
  `variables[${view.draft.variables.indexOf(variable)}]`;

/** A text as an expression finds it. */
export const literal = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
