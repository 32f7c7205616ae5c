import { create, type JsonValue } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  FieldsContract_FieldType as FieldType,
  type OutputContract,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import {
  type OutputConstraint,
  OutputConstraintSchema,
} from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { fieldsPattern, hasMarks, labelOf, parseFields } from './answer-fields.ts';
import { answerSchema } from './answer-schema.ts';
import { linearRegex } from './linear-regex.ts';

/** Longest expression that a constraint takes, in bytes. */
const LONGEST_PATTERN = 8_192;
/** Longest answer that is checked, in characters. */
const LONGEST_ANSWER = 262_144;

/** An answer as its contract reads it, or what is wrong with it, in words that its model can mend it by. */
export type CheckedOutput =
  | { ok: true; value: JsonValue; problems: [] }
  | { ok: false; value: undefined; problems: string[] };

/**
 * Whether a contract can be kept at all.
 * @throws LandfallError INVALID_ARGUMENT naming the field under `field`
 */
export function checkContract({ kind }: OutputContract, field = 'draft.output_contract'): void {
  if (kind.case === 'jsonSchema') answerSchema(kind.value, `${field}.json_schema`);
  if (kind.case === 'regex') linearRegex(kind.value, `${field}.regex`);
  if (kind.case !== 'fields') return;
  const [names, labels] = [new Set<string>(), new Set<string>()];
  for (const [i, one] of kind.value.fields.entries()) {
    const place = `${field}.fields.fields[${i}]`;
    if (names.has(one.name)) throw invalidArgument(`${place}.name`, `'${one.name}' is there twice`);
    if (labels.has(labelOf(one))) throw invalidArgument(`${place}.label`, `'${labelOf(one)}' is there twice`);
    names.add(one.name);
    labels.add(labelOf(one));
    if (one.type === FieldType.ENUM && one.values.length === 0)
      throw invalidArgument(`${place}.values`, 'an enumeration needs values');
    if (hasMarks(labelOf(one))) {
      throw invalidArgument(
        `${place}.label`,
        `'${labelOf(one)}' begins or ends with white space or a mark such as *`,
      );
    }
    const odd = one.values.find((text) => text !== text.trim());
    if (odd !== undefined)
      throw invalidArgument(`${place}.values`, `'${odd}' begins or ends with white space`);
  }
}

/**
 * What a backend can hold the model to; undefined where the contract says `unconstrained` or its fields are too many for
 * an expression. A backend that has no such
 * grammar refuses it with INVALID_ARGUMENT: ask again without, `checkOutput` checks in any case.
 */
export function constraintOf({ kind, unconstrained }: OutputContract): OutputConstraint | undefined {
  if (unconstrained) return undefined;
  switch (kind.case) {
    case 'jsonSchema':
      return create(OutputConstraintSchema, { kind: { case: 'jsonSchema', value: kind.value } });
    case 'oneOf':
      return create(OutputConstraintSchema, { kind: { case: 'choice', value: kind.value } });
    case 'regex':
      return create(OutputConstraintSchema, { kind: { case: 'regex', value: kind.value } });
    case 'fields': {
      const pattern = fieldsPattern(kind.value);
      if (Buffer.byteLength(pattern) > LONGEST_PATTERN) return undefined;
      return create(OutputConstraintSchema, { kind: { case: 'regex', value: pattern } });
    }
    default:
      return undefined;
  }
}

/**
 * Checks an answer: the parsed JSON, the chosen text, the matching text, or an object of the fields.
 * Never throws for an answer, whatever it holds; bounded in time.
 */
export function checkOutput({ kind }: OutputContract, text: string): CheckedOutput {
  if (text.length > LONGEST_ANSWER) {
    return wrong([`the answer has ${text.length} characters; at most ${LONGEST_ANSWER} are checked`]);
  }
  const answer = text.trim();
  switch (kind.case) {
    case 'jsonSchema':
      return checkJson(kind.value, answer);
    case 'oneOf':
      return kind.value.options.some((option) => option.trim() === answer)
        ? right(answer)
        : wrong([
            `the answer must be one of ${kind.value.options.join(', ').slice(0, 1000)}, and nothing else`,
          ]);
    case 'regex': {
      const matches = linearRegex(kind.value, 'output_contract.regex').matches(answer);
      if (matches) return right(answer);
      return wrong([
        matches === undefined
          ? 'the answer is too long for its pattern'
          : `the answer must match ${kind.value.slice(0, 500)} as a whole`,
      ]);
    }
    case 'fields': {
      const { value, problems } = parseFields(kind.value, answer);
      return problems.length === 0 ? right(value) : wrong(problems);
    }
    default:
      return right(answer);
  }
}

/** Models put JSON in a fenced block; one such block and nothing else is taken as what is in it. */
function checkJson(schema: string, answer: string): CheckedOutput {
  const inner = /^```(?:json)?[ \t]*\n([\s\S]*)\n```$/.exec(answer)?.[1] ?? answer;
  let value: JsonValue;
  try {
    value = JSON.parse(inner) as JsonValue;
  } catch (error) {
    return wrong([`the answer is not JSON: ${error instanceof Error ? error.message.slice(0, 200) : ''}`]);
  }
  const problems = depthOf(inner) > 128 ? ['the answer is nested more than 128 deep'] : [];
  if (problems.length === 0)
    problems.push(...answerSchema(schema, 'output_contract.json_schema')(value, inner.length));
  return problems.length === 0 ? right(value) : wrong(problems);
}

function depthOf(json: string): number {
  let [depth, deepest] = [0, 0];
  for (const [char] of json.replace(/"(?:[^"\\]|\\.)*"/g, '').matchAll(/[[\]{}]/g)) {
    depth += char === '[' || char === '{' ? 1 : -1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

/** What the user says in the one turn that asks for a better answer. */
export function repairRequest(problems: readonly string[], text: string): string {
  const list = problems.map((problem) => `- ${problem}`).join('\n');
  return /\p{Script=Han}/u.test(text)
    ? `上面的回答不符合要求的格式:\n${list}\n请只给出改正后的回答,不要解释。`
    : `That answer does not have the form that was asked for:\n${list}\nGive the corrected answer alone, without explanation.`;
}

const right = (value: JsonValue): CheckedOutput => ({ ok: true, value, problems: [] });
const wrong = (problems: string[]): CheckedOutput => ({ ok: false, value: undefined, problems });
