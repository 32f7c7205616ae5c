import type { DescField, DescMessage, Message } from '@bufbuild/protobuf';
import { kindOf } from './text-fields.ts';

type Fields = Record<string, unknown>;
type Change = (text: string) => string;
/** Visits the texts of a message, and puts what comes back in their place. */
export type Visitor = (message: Message, change: Change) => void;

const visitors = new Map<string, Visitor | undefined>();

/**
 * What visits all texts of a type of message, undefined where it has none. Made once a type, from its descriptor: no
 * field is named here, so a new one is visited as soon as its contract has it.
 */
export function textsOf(type: DescMessage): Visitor | undefined {
  if (visitors.has(type.typeName)) return visitors.get(type.typeName);
  const visitor = holdsText(type, new Set()) ? visitorOf(type) : undefined;
  visitors.set(type.typeName, visitor);
  return visitor;
}

/** All texts of a message. */
export function textsIn(type: DescMessage, message: Message): string[] {
  const texts: string[] = [];
  textsOf(type)?.(message, (text) => {
    texts.push(text);
    return text;
  });
  return texts;
}

function holdsText(type: DescMessage, seen: Set<string>): boolean {
  if (seen.has(type.typeName)) return false;
  seen.add(type.typeName);
  return type.fields.some(
    (field) => isText(field) || (field.message !== undefined && holdsText(field.message, seen)),
  );
}

const STRING = 9;
const isText = (field: DescField) => field.scalar === STRING && kindOf(field) === 'text';

function visitorOf(type: DescMessage): Visitor {
  const steps: ((message: Fields, change: Change) => void)[] = [];
  const made: Visitor = (message, change) => {
    for (const step of steps) step(message as unknown as Fields, change);
  };
  // Types may hold themselves: the visitor is known before its fields are looked at.
  visitors.set(type.typeName, made);
  for (const field of type.fields) {
    if (isText(field)) steps.push(stringStep(field));
    else if (field.message && holdsText(field.message, new Set()))
      steps.push(messageStep(field, field.message));
  }
  return made;
}

function stringStep(field: DescField): (message: Fields, change: Change) => void {
  const { oneof, localName: name } = field;
  return (message, change) => {
    const [holder, key] = placeOf(message, oneof?.localName, name);
    const value = holder?.[key];
    if (typeof value === 'string') {
      if (value !== '') holder![key] = change(value);
    } else if (Array.isArray(value)) {
      for (let i = 0; i < value.length; i++) value[i] = change(value[i] as string);
    } else if (value && typeof value === 'object') {
      const map = value as Record<string, string>;
      for (const entry of Object.keys(map)) map[entry] = change(map[entry]!);
    }
  };
}

function messageStep(field: DescField, type: DescMessage): (message: Fields, change: Change) => void {
  const { oneof, localName: name } = field;
  const visit = (value: unknown, change: Change) => textsOf(type)?.(value as Message, change);
  // Struct is a plain object of JSON in generated code.
  const isStruct =
    type.typeName === 'google.protobuf.Struct' && field.parent.typeName !== 'google.protobuf.Value';
  return (message, change) => {
    const [holder, key] = placeOf(message, oneof?.localName, name);
    const value = holder?.[key];
    if (value === undefined || value === null) return;
    if (isStruct && field.fieldKind === 'message') holder![key] = inJson(value, change);
    else if (Array.isArray(value))
      value.forEach((one, i) => {
        if (isStruct) value[i] = inJson(one, change);
        else visit(one, change);
      });
    else if (field.fieldKind === 'map') for (const one of Object.values(value)) visit(one, change);
    else visit(value, change);
  };
}

/** The object and key that hold a field: a member of a oneof stands as its `value`. */
function placeOf(message: Fields, oneof: string | undefined, name: string): [Fields | undefined, string] {
  if (oneof === undefined) return [message, name];
  const chosen = message[oneof] as { case?: string } | undefined;
  return chosen?.case === name ? [chosen as Fields, 'value'] : [undefined, name];
}

/** Texts of a JSON value; numbers that are changed as texts become texts. */
function inJson(value: unknown, change: Change): unknown {
  if (typeof value === 'string') return change(value);
  if (typeof value === 'number') {
    const written = String(value);
    const changed = change(written);
    return changed === written ? value : changed;
  }
  if (Array.isArray(value)) return value.map((one) => inJson(one, change));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, inJson(one, change)]));
}
