import { type JsonValue, toJson } from '@bufbuild/protobuf';
import {
  ChangeKind,
  type Variable,
  VariableSchema,
  VariableType,
} from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { changed, type Found, json } from './change.ts';
import { LONGEST_TEXT, MOST_ITEMS } from './variables.ts';

const { MAJOR, MINOR, PATCH } = ChangeKind;

/** What other variables mean for callers: what worked must go on to work, or it is a new major. */
export function variableChanges(before: readonly Variable[], after: readonly Variable[]): Found[] {
  const [was, is] = [byName(before), byName(after)];
  const found: Found[] = [];
  for (const [name, variable] of was) {
    const path = `variables.${name}`;
    const next = is.get(name);
    if (next) found.push(...otherwise(path, variable, next));
    else found.push(changed(path, MAJOR, 'calls that give it fail from now on', shown(variable), undefined));
  }
  for (const [name, variable] of is) {
    if (was.has(name)) continue;
    const must = mustBeGiven(variable);
    found.push(
      changed(
        `variables.${name}`,
        must ? MAJOR : MINOR,
        must ? 'calls must give it from now on' : 'calls may give it',
        undefined,
        shown(variable),
      ),
    );
  }
  return found;
}

const byName = (list: readonly Variable[]) => new Map(list.map((variable) => [variable.name, variable]));
const shown = (variable: Variable): JsonValue => toJson(VariableSchema, variable);
const mustBeGiven = ({ required, defaultValue }: Variable) => required && !defaultValue;

function otherwise(path: string, a: Variable, b: Variable): Found[] {
  const found: Found[] = [];
  const note = (part: string, kind: ChangeKind, why: string, before: JsonValue, after: JsonValue) => {
    if (json(before) !== json(after)) found.push(changed(`${path}.${part}`, kind, why, before, after));
  };
  const typeOf = ({ type }: Variable) => VariableType[type || VariableType.STRING];
  note('type', MAJOR, 'calls must give another type', typeOf(a), typeOf(b));
  if (mustBeGiven(a) !== mustBeGiven(b)) {
    const must = mustBeGiven(b);
    note(
      'required',
      must ? MAJOR : MINOR,
      must ? 'calls must give it from now on' : 'calls may leave it out',
      mustBeGiven(a),
      must,
    );
  } else {
    note('required', PATCH, 'it has a default in any case', a.required, b.required);
  }
  note('default_value', MINOR, 'calls that leave it out mean another value', defaultOf(a), defaultOf(b));
  const kept = new Set(b.enumValues);
  const narrower = a.enumValues.some((value) => !kept.has(value));
  note(
    'enum_values',
    narrower ? MAJOR : MINOR,
    narrower ? 'a value is gone' : 'more values',
    a.enumValues,
    b.enumValues,
  );
  const bound = (part: string, before: number, after: number, tighter: boolean) =>
    note(part, tighter ? MAJOR : MINOR, tighter ? 'narrower' : 'wider', finite(before), finite(after));
  const [length, nextLength] = [a.maxLength || LONGEST_TEXT, b.maxLength || LONGEST_TEXT];
  bound('max_length', length, nextLength, nextLength < length);
  const [items, nextItems] = [a.maxItems || MOST_ITEMS, b.maxItems || MOST_ITEMS];
  bound('max_items', items, nextItems, nextItems < items);
  const [least, nextLeast] = [a.minimum ?? -Infinity, b.minimum ?? -Infinity];
  bound('minimum', least, nextLeast, nextLeast > least);
  const [largest, nextLargest] = [a.maximum ?? Infinity, b.maximum ?? Infinity];
  bound('maximum', largest, nextLargest, nextLargest < largest);
  note(
    'integer',
    b.integer ? MAJOR : MINOR,
    b.integer ? 'fractions are refused' : 'fractions are taken',
    a.integer,
    b.integer,
  );
  note(
    'pattern',
    b.pattern ? MAJOR : MINOR,
    b.pattern ? 'texts must match' : 'any text is taken',
    a.pattern,
    b.pattern,
  );
  note('description', PATCH, 'what is said about it', a.description, b.description);
  note('examples', PATCH, 'what is said about it', examplesOf(a), examplesOf(b));
  return found;
}

const finite = (value: number): JsonValue => (Number.isFinite(value) ? value : null);
const defaultOf = (variable: Variable): JsonValue => member(variable, 'defaultValue') ?? null;
const examplesOf = (variable: Variable): JsonValue => member(variable, 'examples') ?? [];
const member = (variable: Variable, name: string): JsonValue | undefined =>
  (shown(variable) as Record<string, JsonValue>)[name];
