import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Variable, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { badVariable } from '../errors.ts';

const LONGEST_TEXT = 32_768;

/**
 * The text of every declared variable, from the values of a call and the defaults.
 * @throws LandfallError INVALID_ARGUMENT with the field `variables.NAME` for a missing, unknown or ill-typed value
 */
export function variableTexts(variables: readonly Variable[], given: JsonObject): Map<string, string> {
  const known = new Set(variables.map((variable) => variable.name));
  for (const name of Object.keys(given)) {
    if (!known.has(name)) {
      const names = [...known].join(', ') || 'none';
      throw badVariable(name.slice(0, 64), `is not a variable of this prompt; it has ${names}`);
    }
  }
  return new Map(variables.map((variable) => [variable.name, textOf(variable, given)]));
}

function textOf(variable: Variable, given: JsonObject): string {
  const { name, required, defaultValue } = variable;
  const value = Object.hasOwn(given, name) ? given[name]! : null;
  if (value !== null) return checked(variable, value);
  if (defaultValue) return checked(variable, toJson(ValueSchema, defaultValue));
  if (required) throw badVariable(name, 'is required and has no value');
  return '';
}

/** A value's text. @throws LandfallError INVALID_ARGUMENT where it does not fit the type */
export function checked(variable: Variable, value: JsonValue): string {
  const { name, type, enumValues, maxLength } = variable;
  const limit = maxLength || LONGEST_TEXT;
  switch (type) {
    case VariableType.NUMBER:
      if (typeof value !== 'number' || !Number.isFinite(value))
        throw badVariable(name, 'must be a finite number');
      return String(value);
    case VariableType.BOOLEAN:
      if (typeof value !== 'boolean') throw badVariable(name, 'must be true or false');
      return String(value);
    case VariableType.ENUM:
      if (typeof value !== 'string' || !enumValues.includes(value)) {
        throw badVariable(name, `must be one of ${enumValues.join(', ')}`);
      }
      return value;
    case VariableType.LIST: {
      if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
        throw badVariable(name, 'must be a list of texts');
      }
      return bounded(name, value.join('\n'), limit);
    }
    default:
      if (typeof value !== 'string') throw badVariable(name, 'must be a text');
      return bounded(name, value, limit);
  }
}

function bounded(name: string, text: string, limit: number): string {
  const length = [...text].length;
  if (length > limit) throw badVariable(name, `has ${length} characters; at most ${limit} are taken`);
  return text;
}
