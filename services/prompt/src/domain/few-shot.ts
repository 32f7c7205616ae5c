import type { JsonObject } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import {
  type FewShot,
  FewShot_Selection as Selection,
} from '@landfall/proto/landfall/prompt/v1/few_shot_pb.js';
import { TemplateFormat, type Variable, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import type { PromptDraft } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { LikenessIndex } from './likeness.ts';
import { readTemplate } from './read-template.ts';
import { EXAMPLES, type Template } from './template.ts';
import { estimateTokens } from './tokens.ts';
import { textOf, type Value, variableValues } from './variables.ts';

/** An example's answer, beside its variables. */
export const OUTPUT = 'output';

const DEFAULT_TOKENS = 2_048;
const DEFAULT_SIMILAR = 4;

/** An example, its position, and its values by variable with `output`. */
export interface Chosen {
  position: number;
  values: ReadonlyMap<string, Value>;
}

/** What is known of examples once for all renderings. */
interface Prepared {
  values: ReadonlyMap<string, Value>[];
  /** Estimates of all that is put in for an example. */
  tokens: number[];
  index: LikenessIndex | undefined;
}
const prepared = new WeakMap<FewShot, Prepared>();

/** Examples for these values: the first, or the likest with the likest last, as far as their tokens go. */
export function chooseExamples(
  fewShot: FewShot,
  variables: readonly Variable[],
  values: ReadonlyMap<string, Value>,
): Chosen[] {
  const known = prepared.get(fewShot) ?? prepare(fewShot, variables);
  prepared.set(fewShot, known);
  const similar = fewShot.selection === Selection.SIMILAR;
  const most = fewShot.count || (similar ? DEFAULT_SIMILAR : fewShot.examples.length);
  const order = known.index
    ? known.index.rank(comparedText(fewShot, variables, values))
    : fewShot.examples.map((_, i) => i);
  let room = fewShot.maxTokens || DEFAULT_TOKENS;
  const chosen: number[] = [];
  for (const position of order.slice(0, most)) {
    room -= known.tokens[position]!;
    if (room < 0) break;
    chosen.push(position);
  }
  if (similar) chosen.reverse();
  return chosen.map((position) => ({ position, values: known.values[position]! }));
}

function prepare(fewShot: FewShot, variables: readonly Variable[]): Prepared {
  const values = fewShot.examples.map((example) =>
    exampleValues(variables, example.variables, example.output),
  );
  const similar = fewShot.selection === Selection.SIMILAR;
  return {
    values,
    tokens: values.map((one) =>
      [...one.values()].reduce<number>((sum, value) => sum + estimateTokens(textOf(value)), 0),
    ),
    index: similar
      ? new LikenessIndex(values.map((one) => comparedText(fewShot, variables, one)))
      : undefined,
  };
}

function exampleValues(
  variables: readonly Variable[],
  given: JsonObject | undefined,
  output: string,
): ReadonlyMap<string, Value> {
  // What an example doesn't need may be missing, also where a call must give it.
  const optional = variables.map((variable) => ({ ...variable, required: false }));
  return variableValues(optional, given ?? {}).set(OUTPUT, output);
}

/** The text that examples and inputs are compared by. */
function comparedText(
  { by }: FewShot,
  variables: readonly Variable[],
  values: ReadonlyMap<string, Value>,
): string {
  const names = by.length > 0 ? by : variables.filter(isComparable).map(({ name }) => name);
  return names.map((name) => textOf(values.get(name) ?? null)).join('\n');
}

const isComparable = ({ type }: Variable) =>
  type === VariableType.STRING || type === VariableType.LIST || type === VariableType.UNSPECIFIED;

/** The template of one example where the turns say `{examples}`; a line for each variable that it has where none is given. */
export function exampleTemplate({ template }: FewShot, values: ReadonlyMap<string, Value>): Template {
  const text =
    template ||
    [...values.keys()]
      .filter((name) => values.get(name) !== null)
      .map((name) => `${name}: {${name}}`)
      .join('\n');
  return readTemplate(TemplateFormat.SIMPLE, text, 'draft.few_shot.template');
}

/** @throws LandfallError INVALID_ARGUMENT naming the example and what does not fit */
export function checkFewShot(
  { fewShot, messages }: PromptDraft,
  variables: readonly Variable[],
  hasPlace: boolean,
): void {
  if (!fewShot) return;
  const field = 'draft.few_shot';
  const names = new Set(variables.map(({ name }) => name));
  for (const reserved of [EXAMPLES, OUTPUT]) {
    if (names.has(reserved))
      throw invalidArgument(
        'draft.variables',
        `'${reserved}' is the name of what examples give; take another`,
      );
  }
  if (!hasPlace && !messages.some(({ role }) => role === 'user'))
    throw invalidArgument(field, 'has no place: write {examples} into a turn, or add a turn of the user');
  for (const name of fewShot.by) {
    if (!names.has(name)) throw invalidArgument(`${field}.by`, `'${name}' is no variable of this prompt`);
  }
  const template = readTemplate(TemplateFormat.SIMPLE, fewShot.template, `${field}.template`);
  for (const name of template.variables) {
    if (!names.has(name) && name !== OUTPUT)
      throw invalidArgument(`${field}.template`, `{${name}} is no variable of this prompt and not {output}`);
  }
  if (template.parts.length > 0) throw invalidArgument(`${field}.template`, 'can put no other prompt in');
}

/** @throws LandfallError INVALID_ARGUMENT naming the example and the variable */
export function checkExamples(
  { examples }: FewShot,
  variables: readonly Variable[],
  fits: (field: string, check: () => void) => void,
): void {
  for (const [i, example] of examples.entries()) {
    fits(`draft.few_shot.examples[${i}].variables`, () =>
      exampleValues(variables, example.variables, example.output),
    );
  }
}
