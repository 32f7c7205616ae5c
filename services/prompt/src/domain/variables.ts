import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Variable, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { badVariable } from '../errors.ts';
import { checkImage } from './image-reference.ts';
import { linearRegex } from './linear-regex.ts';

/** Characters of a text where its variable says nothing. */
export const LONGEST_TEXT = 32_768;
/** Texts of a list where its variable says nothing. */
export const MOST_ITEMS = 1_000;
/** Characters of a picture's reference where its variable says nothing: it may hold the picture. */
const LONGEST_IMAGE = 1_048_576;

/** What a variable holds: a text, a number, a boolean, or a list of texts; null for an optional one without a value. */
export type Value = string | number | boolean | readonly string[] | null;

/**
 * The value of every declared variable, from the values of a call and the defaults.
 * @throws LandfallError INVALID_ARGUMENT with the field `variables.NAME` for a missing, unknown or ill-typed value
 */
export function variableValues(variables: readonly Variable[], given: JsonObject): Map<string, Value> {
  const known = new Set(variables.map((variable) => variable.name));
  for (const name of Object.keys(given)) {
    if (!known.has(name)) {
      const names = [...known].join(', ') || 'none';
      throw badVariable(name.slice(0, 64), `is not a variable of this prompt; it has ${names}`);
    }
  }
  return new Map(variables.map((variable) => [variable.name, valueIn(variable, given)]));
}

/** The same as texts: numbers as JSON writes them, lists one a line, '' for what is not there. */
export function variableTexts(variables: readonly Variable[], given: JsonObject): Map<string, string> {
  return new Map([...variableValues(variables, given)].map(([name, value]) => [name, textOf(value)]));
}

export function textOf(value: Value): string {
  if (value === null) return '';
  return typeof value === 'object' ? value.join('\n') : String(value);
}

function valueIn(variable: Variable, given: JsonObject): Value {
  const { name, required, defaultValue } = variable;
  const value = Object.hasOwn(given, name) ? given[name]! : null;
  if (value !== null) return checked(variable, value);
  if (defaultValue) return checked(variable, toJson(ValueSchema, defaultValue));
  if (required) throw badVariable(name, 'is required and has no value');
  return null;
}

/** A value that fits. @throws LandfallError INVALID_ARGUMENT where it does not */
export function checked(variable: Variable, value: JsonValue): Value {
  const { name, type, enumValues, maxLength } = variable;
  switch (type) {
    case VariableType.NUMBER:
      return numberOf(variable, value);
    case VariableType.BOOLEAN:
      if (typeof value !== 'boolean') throw badVariable(name, 'must be true or false');
      return value;
    case VariableType.ENUM:
      if (typeof value !== 'string' || !enumValues.includes(value)) {
        throw badVariable(name, `must be one of ${enumValues.join(', ')}`);
      }
      return value;
    case VariableType.LIST:
      return listOf(variable, value);
    case VariableType.IMAGE:
      if (typeof value !== 'string') throw badVariable(name, 'must be the reference of a picture');
      checkImage(name, bounded(name, value, maxLength || LONGEST_IMAGE));
      return value;
    default:
      return stringOf(variable, value);
  }
}

function numberOf({ name, minimum, maximum, integer }: Variable, value: JsonValue): number {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw badVariable(name, 'must be a finite number');
  if (integer && !Number.isInteger(value)) throw badVariable(name, `must have no fraction, and is ${value}`);
  if (minimum !== undefined && value < minimum)
    throw badVariable(name, `must be at least ${minimum}, and is ${value}`);
  if (maximum !== undefined && value > maximum)
    throw badVariable(name, `must be at most ${maximum}, and is ${value}`);
  return value;
}

function listOf({ name, maxItems, maxLength }: Variable, value: JsonValue): string[] {
  if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
    throw badVariable(name, 'must be a list of texts');
  }
  const most = maxItems || MOST_ITEMS;
  if (value.length > most) throw badVariable(name, `has ${value.length} texts; at most ${most} are taken`);
  bounded(name, value.join('\n'), maxLength || LONGEST_TEXT);
  return value as string[];
}

function stringOf({ name, maxLength, pattern }: Variable, value: JsonValue): string {
  if (typeof value !== 'string') throw badVariable(name, 'must be a text');
  bounded(name, value, maxLength || LONGEST_TEXT);
  if (pattern === '') return value;
  const matches = linearRegex(pattern, `variables.${name}`).matches(value);
  if (matches === undefined) throw badVariable(name, 'is too long for the pattern of this variable');
  if (!matches) throw badVariable(name, `must match ${pattern} as a whole`);
  return value;
}

function bounded(name: string, text: string, limit: number): string {
  // Characters are at most UTF-16 units: the exact count is needed only beyond the limit.
  if (text.length <= limit) return text;
  let length = 0;
  for (const _character of text) length++;
  if (length > limit) throw badVariable(name, `has ${length} characters; at most ${limit} are taken`);
  return text;
}
