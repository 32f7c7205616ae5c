/**
 * A JSON schema as the language of the JSON texts that it validates, a part of it: properties in the schema's order,
 * those without a schema only where nothing else says what an object holds.
 */

import type { AutomatonBuilder } from './automaton.ts';
import { ConstraintError } from './constraint.ts';
import { addAnyArray, addAnyMap, addAnyValue } from './json-any.ts';
import { typeOf } from './json-disjoint.ts';
import { addBoundedNumber, addPlainNumber } from './json-number.ts';
import { addObject } from './json-object.ts';
import { SchemaReader } from './json-schema-reader.ts';
import { EVERY_TYPE, type JsonType, type Located, type Shape } from './json-shape.ts';
import { addString, lengthOf } from './json-string.ts';
import { addLiteral, addSeparator } from './json-text.ts';

/** Objects and arrays in one another, in a JSON object that has no schema. */
const OBJECT_DEPTH = 6;
/** The same of a value inside a schema that says nothing of it. */
const VALUE_DEPTH = 4;

/** Any JSON object. @returns where it ends. */
export function addAnyObject(builder: AutomatonBuilder, from: number): number {
  return addAnyMap(builder, from, OBJECT_DEPTH);
}

/** What a schema validates. @returns where it ends. @throws ConstraintError naming the keyword's place. */
export function addSchema(builder: AutomatonBuilder, schema: unknown, from: number): number {
  const reader = new SchemaReader(schema);
  return new SchemaAutomaton(builder, reader).addValue([reader.root], from);
}

class SchemaAutomaton {
  readonly #builder: AutomatonBuilder;
  readonly #reader: SchemaReader;

  constructor(builder: AutomatonBuilder, reader: SchemaReader) {
    this.#builder = builder;
    this.#reader = reader;
  }

  /** What fulfils all of these schemas. Where nothing does, nothing leads to the end. */
  addValue(schemas: readonly Located[], from: number): number {
    this.#builder.step();
    const shapes = this.#reader.alternatives(schemas);
    return this.#builder.choice(from, shapes, (shape, at) => this.#addShape(shape, at));
  }

  #addShape(shape: Shape, from: number): number {
    if (shape.literals) {
      const fitting = shape.literals.filter((value) => fits(shape, value));
      return this.#builder.choice(from, fitting, (value, at) => addLiteral(this.#builder, value, at));
    }
    const types = meant(shape);
    // Integers are numbers: one of them is enough.
    if (types.has('number')) types.delete('integer');
    if (isAny(shape) && types.size === EVERY_TYPE.length - 1)
      return addAnyValue(this.#builder, from, VALUE_DEPTH);
    return this.#builder.choice(from, types, (type, at) => this.#addType(shape, type, at));
  }

  #addType(shape: Shape, type: JsonType, from: number): number {
    const builder = this.#builder;
    switch (type) {
      case 'null':
        return builder.text(from, 'null');
      case 'boolean':
        return builder.choice(from, ['true', 'false'], (word, at) => builder.text(at, word));
      case 'integer':
      case 'number':
        return this.#addNumber(shape, type === 'integer', from);
      case 'string':
        return addString(builder, shape, from);
      case 'array':
        return this.#addArray(shape, from);
      case 'object':
        if (shape.properties.size === 0 && shape.additional === undefined && shape.required.size === 0)
          return addAnyMap(builder, from, VALUE_DEPTH);
        return addObject(builder, shape, from, (schemas, at) => this.addValue(schemas, at));
    }
  }

  #addNumber(shape: Shape, integer: boolean, from: number): number {
    const { min, max, path } = shape;
    if (min === Number.NEGATIVE_INFINITY && max === Number.POSITIVE_INFINITY)
      return addPlainNumber(this.#builder, from, integer);
    try {
      return addBoundedNumber(this.#builder, from, shape, integer);
    } catch (error) {
      if (error instanceof ConstraintError) throw new ConstraintError(`${path}: ${error.message}`);
      throw error;
    }
  }

  #addArray(shape: Shape, from: number): number {
    const { minItems, prefixItems, items } = shape;
    const builder = this.#builder;
    if (prefixItems.length === 0 && items === undefined && minItems === 0 && shape.maxItems === Infinity)
      return addAnyArray(builder, from, VALUE_DEPTH);
    const rest =
      items === false ? undefined : (items ?? [{ schema: true, path: shape.path, references: [] }]);
    const maxItems = rest ? shape.maxItems : Math.min(shape.maxItems, prefixItems.length);
    const close = builder.state();
    let state = builder.text(from, '[');
    if (minItems === 0) builder.epsilon(state, close);
    // Each item has states of its own until the last that repeats.
    for (let i = 0; i < maxItems; i++) {
      const start = builder.state();
      builder.epsilon(i > 0 ? addSeparator(builder, state, ',') : state, start);
      state = this.addValue(prefixItems[i] ?? rest!, start);
      if (i + 1 >= minItems && minItems <= maxItems) builder.epsilon(state, close);
      const last = i + 1 >= Math.max(minItems, prefixItems.length + 1);
      if (last && maxItems === Number.POSITIVE_INFINITY) {
        builder.epsilon(addSeparator(builder, state, ','), start);
        break;
      }
    }
    return builder.text(close, ']');
  }
}

/** The types that are written: where keywords speak of some types only, those. */
function meant(shape: Shape): Set<JsonType> {
  const types = new Set(shape.types);
  if (types.size < EVERY_TYPE.length) return types;
  const spoken = new Set<JsonType>();
  if (speaksOfObjects(shape)) spoken.add('object');
  if (speaksOfArrays(shape)) spoken.add('array');
  if (speaksOfStrings(shape)) spoken.add('string');
  if (shape.min !== Number.NEGATIVE_INFINITY || shape.max !== Number.POSITIVE_INFINITY) {
    spoken.add('number');
    spoken.add('integer');
  }
  return spoken.size > 0 ? spoken : types;
}

function speaksOfObjects({ properties, required, additional }: Shape): boolean {
  return properties.size > 0 || required.size > 0 || additional !== undefined;
}

function speaksOfArrays({ prefixItems, items, minItems, maxItems }: Shape): boolean {
  return prefixItems.length > 0 || items !== undefined || minItems > 0 || maxItems !== Infinity;
}

function speaksOfStrings({ patterns, formats, minLength, maxLength }: Shape): boolean {
  return patterns.length > 0 || formats.length > 0 || minLength > 0 || maxLength !== Infinity;
}

function isAny(shape: Shape): boolean {
  return !speaksOfObjects(shape) && !speaksOfArrays(shape) && !speaksOfStrings(shape);
}

/** Whether a value of enum or const fulfils what else is said. @throws ConstraintError where that isn't looked at. */
function fits(shape: Shape, value: unknown): boolean {
  const type = typeOf(value);
  if (!shape.types.has(type)) return false;
  const unseen =
    (type === 'string' && (shape.patterns.length > 0 || shape.formats.length > 0)) ||
    (type === 'object' && speaksOfObjects(shape)) ||
    (type === 'array' && speaksOfArrays(shape));
  if (unseen)
    throw new ConstraintError(`${shape.path}: enum or const beside other keywords is not supported`);
  if (typeof value === 'string') {
    const length = lengthOf(value);
    return shape.minLength <= length && length <= shape.maxLength;
  }
  if (typeof value !== 'number') return true;
  const { min, max, aboveMin, belowMax } = shape;
  return (aboveMin ? value > min : value >= min) && (belowMax ? value < max : value <= max);
}
