import {
  type FieldsContract,
  type FieldsContract_Field,
  FieldsContract_FieldType as FieldType,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';

const NUMBER = /^[+-]?(\d{1,300}(\.\d{1,300})?|\.\d{1,300})([eE][+-]?\d{1,3})?$/;

/** Marks that models write before a label. */
const MARKS = /^[\s>*#\u2022-]+/;
/** Longest label with its marks, in characters. */
const LONGEST_LABEL = 128;

/** Whether a label could be taken for one with marks around it. */
export const hasMarks = (label: string): boolean => MARKS.test(label) || /[\s*]$/.test(label);

export const labelOf = ({ label, name }: FieldsContract_Field): string => label || name;

/**
 * The fields of an answer of lines `LABEL: value`. Both colons count, and list marks and emphasis before a label are
 * left out, since models write them.
 */
export function parseFields(
  contract: FieldsContract,
  text: string,
): { value: Record<string, string | number>; problems: string[] } {
  const byLabel = new Map(contract.fields.map((field) => [labelOf(field), field]));
  const found = new Map<FieldsContract_Field, string>();
  const problems: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const [label, rest] = split(line);
    const field = label === undefined ? undefined : byLabel.get(label);
    if (!field) {
      if (line.trim() !== '' && !contract.freeTextBefore)
        problems.push(`the line '${line.trim().slice(0, 80)}' is no field of the answer`);
      continue;
    }
    if (found.has(field) && !contract.freeTextBefore) problems.push(`the field '${label}' is there twice`);
    found.set(field, rest!);
  }
  const value: Record<string, string | number> = {};
  for (const field of contract.fields) {
    const text = found.get(field);
    const read = text === undefined ? undefined : readValue(field, text);
    if (text === undefined) {
      if (!field.optional) problems.push(`the line '${labelOf(field)}: ...' is missing`);
    } else if (typeof read === 'object') problems.push(read.problem);
    else value[field.name] = read!;
  }
  const order = [...found.keys()].map((field) => contract.fields.indexOf(field));
  if (!contract.freeTextBefore && order.some((place, i) => i > 0 && place < order[i - 1]!)) {
    problems.push(`the fields are out of order: ${contract.fields.map(labelOf).join(', ')}`);
  }
  return { value, problems: problems.slice(0, 20) };
}

/** A label and what stands behind its colon; nothing where no label can be. */
function split(line: string): [string | undefined, string | undefined] {
  const at = line.search(/[:\uff1a]/);
  if (at < 0 || at > LONGEST_LABEL) return [undefined, undefined];
  const head = line.slice(0, at).replace(MARKS, '');
  const label = head.replace(/[\s*]+$/, '');
  // `**LABEL:** value`: what was opened before the label is closed behind the colon.
  const open = line.slice(0, at).includes('**') && !head.endsWith('**');
  const rest = line.slice(at + 1);
  return [label, (open ? rest.replace(/^\s*\*\*/, '') : rest).trim()];
}

function readValue(field: FieldsContract_Field, text: string): string | number | { problem: string } {
  const label = labelOf(field);
  if (text === '') return { problem: `the field '${label}' is empty` };
  if (field.type === FieldType.NUMBER) {
    const number = NUMBER.test(text) ? Number(text) : Number.NaN;
    return Number.isFinite(number) ? number : { problem: `the field '${label}' is no number` };
  }
  if (field.type === FieldType.ENUM && !field.values.includes(text)) {
    return { problem: `the field '${label}' must be one of ${field.values.join(', ').slice(0, 500)}` };
  }
  return text;
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** A regular expression for decoding: what it lets through, `parseFields` reads. */
export function fieldsPattern(contract: FieldsContract): string {
  const value = (field: FieldsContract_Field) => {
    if (field.type === FieldType.NUMBER) return '-?[0-9]{1,15}(\\.[0-9]{1,15})?';
    if (field.type === FieldType.ENUM) return `(${field.values.map(escaped).join('|')})`;
    return '\\S[^\\n]*';
  };
  // Line ends are parts of the lines, so that an optional one may be missing with its own.
  const lines = contract.fields.map((field, i) => {
    const line = `${i === 0 && !contract.freeTextBefore ? '' : '\\n'}${escaped(labelOf(field))}: ${value(field)}`;
    return field.optional ? `(${line})?` : line;
  });
  return `${contract.freeTextBefore ? '[^\\0]*' : ''}${lines.join('')}`;
}
