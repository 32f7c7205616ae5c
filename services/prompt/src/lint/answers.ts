import { type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { FieldsContract_FieldType as FieldType } from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import type { Variable } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { DraftView } from './draft-view.ts';

/** An answer of the contract's form, with what is yet to be written in 〈 〉. */
export function sampleAnswer(view: DraftView): string {
  const kind = view.draft.outputContract?.kind;
  const gap = (what: string) => `〈${what}〉`;
  const { say } = view;
  if (kind?.case === 'oneOf') return kind.value.options[0]!;
  if (kind?.case === 'fields') {
    const before = kind.value.freeTextBefore ? `${gap(say('推理步骤', 'the steps'))}\n` : '';
    const lines = kind.value.fields.map(
      ({ label, name, type, values, description }) =>
        `${label || name}: ${values[0] ?? (type === FieldType.NUMBER ? '1' : gap(description || name))}`,
    );
    return before + lines.join('\n');
  }
  if (kind?.case === 'jsonSchema') {
    const members = view.fields.map(({ name, type, description }) => [
      name,
      sampleOf(type, gap(description || name)),
    ]);
    return JSON.stringify(Object.fromEntries(members));
  }
  return gap(say('应有的回答', 'the answer that it should get'));
}

function sampleOf(type: string, text: string): JsonValue {
  if (type === 'number' || type === 'integer') return 1;
  if (type === 'boolean') return true;
  if (type === 'array') return [];
  return type.includes('|') ? type.split('|')[0]! : text;
}

/** A value of a variable: its first example, its default, or what is yet to be written. */
export function sampleValue(view: DraftView, variable: Variable): JsonValue {
  const known = variable.examples[0] ?? variable.defaultValue;
  if (known) return toJson(ValueSchema, known);
  return (
    variable.enumValues[0] ??
    `〈${variable.description || view.say(`${variable.name} 的值`, `a value of ${variable.name}`)}〉`
  );
}

/** An example as a file writes it. */
export function sampleExample(
  view: DraftView,
  answer: 'output' | 'expected',
  output = sampleAnswer(view),
): string {
  const values = view.draft.variables.map(
    (variable) => `${variable.name}: ${JSON.stringify(sampleValue(view, variable))}`,
  );
  return `- variables: {${values.join(', ')}}\n  ${answer}: ${JSON.stringify(output)}`;
}
