/**
 * JSON Schema (draft 2020-12, and the older spellings of `definitions` and lists of `items`) as alternatives of
 * shapes: references followed, allOf merged, anyOf and oneOf multiplied out.
 */

import { ConstraintError } from './constraint.ts';
import { disjoint } from './json-disjoint.ts';
import { anyShape, both, EVERY_TYPE, type JsonType, type Located, type Shape } from './json-shape.ts';

/** Say nothing about the value. */
const ANNOTATIONS = new Set([
  '$schema',
  '$id',
  '$comment',
  '$defs',
  'definitions',
  'title',
  'description',
  'default',
  'example',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
]);
const MOST_ALTERNATIVES = 256;
const MOST_STEPS = 20_000;
const DEEPEST = 64;

type Keywords = Record<string, unknown>;

export class SchemaReader {
  readonly #root: unknown;
  #steps = 0;

  constructor(root: unknown) {
    this.#root = root;
  }

  get root(): Located {
    return { schema: this.#root, path: '#', references: [] };
  }

  /** The alternatives that fulfil all of these schemas at once; none where nothing does. @throws ConstraintError */
  alternatives(schemas: readonly Located[], path = schemas[0]?.path ?? '#'): Shape[] {
    return schemas.reduce<Shape[]>(
      (all, located) => this.#product(all, this.#read(located)),
      [anyShape(path)],
    );
  }

  #product(left: Shape[], right: Shape[]): Shape[] {
    if (left.length * right.length > MOST_ALTERNATIVES)
      throw new ConstraintError(`${right[0]!.path}: more than ${MOST_ALTERNATIVES} alternatives`);
    return left.flatMap((a) =>
      right
        .map((b) => {
          this.#count(b.path, 1 + (sizeOf(a) + sizeOf(b)) / 4);
          return both(a, b);
        })
        .filter((shape) => shape !== undefined),
    );
  }

  #count(path: string, steps: number): void {
    this.#steps += steps;
    if (this.#steps > MOST_STEPS) throw new ConstraintError(`${path}: the schema is too large`);
  }

  #read(located: Located): Shape[] {
    const { schema, path, references } = located;
    this.#count(path, 1);
    if (schema === true) return [anyShape(path)];
    if (schema === false) return [];
    if (!isKeywords(schema)) fail(path, 'is no schema');
    if (references.length + path.split('/').length > DEEPEST)
      fail(path, `is nested more than ${DEEPEST} deep`);
    let shapes = [this.#own(schema, located)];
    if (schema.$ref !== undefined)
      shapes = this.#product(shapes, this.#read(this.#resolve(schema.$ref, located)));
    for (const part of this.#list(schema, 'allOf', located)) shapes = this.#product(shapes, this.#read(part));
    const anyOf = this.#list(schema, 'anyOf', located);
    if (anyOf.length > 0)
      shapes = this.#product(
        shapes,
        anyOf.flatMap((option) => this.#read(option)),
      );
    const oneOf = this.#list(schema, 'oneOf', located).map((option) => this.#read(option));
    if (oneOf.length > 0) {
      this.#exclusive(oneOf, `${path}/oneOf`);
      shapes = this.#product(shapes, oneOf.flat());
    }
    return shapes;
  }

  #exclusive(options: Shape[][], path: string): void {
    for (const [i, option] of options.entries()) {
      for (const other of options.slice(i + 1)) {
        const apart = option.every((a) => other.every((b) => disjoint(a, b, this)));
        if (!apart) fail(path, 'two options could hold for one value, or might: use anyOf');
      }
    }
  }

  #list(schema: Keywords, keyword: string, { path, references }: Located): Located[] {
    const value = schema[keyword];
    if (value === undefined) return [];
    if (!Array.isArray(value) || value.length === 0) fail(`${path}/${keyword}`, 'is no list of schemas');
    return value.map((part, i) => ({ schema: part, path: `${path}/${keyword}/${i}`, references }));
  }

  #resolve(reference: unknown, { path, references }: Located): Located {
    const place = `${path}/$ref`;
    if (typeof reference !== 'string' || !/^#(\/|$)/.test(reference))
      fail(place, 'only references within the schema are supported');
    if (references.includes(reference)) fail(place, `recursive references are not supported: ${reference}`);
    let schema = this.#root;
    for (const part of reference.split('/').slice(1)) {
      const name = nameOf(part);
      if (typeof schema !== 'object' || schema === null || !Object.hasOwn(schema, name))
        fail(place, `${reference} leads nowhere`);
      schema = (schema as Keywords)[name];
    }
    return { schema, path: place, references: [...references, reference] };
  }

  /** What the schema's own keywords say. */
  #own(schema: Keywords, { path, references }: Located): Shape {
    const shape = anyShape(path);
    const at = (keyword: string, part: unknown): Located => ({
      schema: part,
      path: `${path}/${keyword}`,
      references,
    });
    for (const [keyword, value] of Object.entries(schema)) {
      const place = `${path}/${keyword}`;
      switch (keyword) {
        case 'type':
          shape.types = typesOf(value, place);
          break;
        case 'const':
          shape.literals = [value];
          break;
        case 'enum':
          if (!Array.isArray(value) || value.length === 0) fail(place, 'is no list of values');
          shape.literals = value;
          break;
        case 'minimum':
        case 'exclusiveMinimum':
          Object.assign(shape, lower(shape, numberOf(value, place), keyword === 'exclusiveMinimum'));
          break;
        case 'maximum':
        case 'exclusiveMaximum':
          Object.assign(shape, upper(shape, numberOf(value, place), keyword === 'exclusiveMaximum'));
          break;
        case 'multipleOf':
          if (value !== 1) fail(place, 'is supported with 1 only');
          shape.types = shape.types.difference(new Set<JsonType>(['number']));
          break;
        case 'minLength':
        case 'maxLength':
        case 'minItems':
        case 'maxItems':
          shape[keyword] = countOf(value, place);
          break;
        case 'pattern':
          shape.patterns = [textOf(value, place)];
          break;
        case 'format':
          shape.formats = [textOf(value, place)];
          break;
        case 'properties':
          if (!isKeywords(value)) fail(place, 'is no object');
          shape.properties = new Map(
            Object.entries(value).map(([name, part]) => [
              name,
              [at(`properties/${pointerPart(name)}`, part)],
            ]),
          );
          break;
        case 'required':
          if (!Array.isArray(value)) fail(place, 'is no list of names');
          shape.required = new Set(value.map((name, i) => textOf(name, `${place}/${i}`)));
          break;
        case 'additionalProperties':
          shape.additional = value === false ? false : [at(keyword, value)];
          break;
        case 'prefixItems':
          if (!Array.isArray(value)) fail(place, 'is no list of schemas');
          shape.prefixItems = value.map((part, i) => [at(`${keyword}/${i}`, part)]);
          break;
        case 'items':
          if (Array.isArray(value)) shape.prefixItems = value.map((part, i) => [at(`items/${i}`, part)]);
          else shape.items = value === false ? false : [at(keyword, value)];
          break;
        case 'uniqueItems':
          if (value !== false) fail(place, 'is not supported');
          break;
        case '$ref':
        case 'allOf':
        case 'anyOf':
        case 'oneOf':
          break;
        default:
          if (!ANNOTATIONS.has(keyword)) fail(place, 'is not supported');
      }
    }
    return shape;
  }
}

/** How much it takes to merge it. */
function sizeOf({ properties, required, prefixItems, literals = [] }: Shape): number {
  return properties.size + required.size + prefixItems.length + literals.length;
}

function typesOf(value: unknown, path: string): Set<JsonType> {
  const names = Array.isArray(value) ? value : [value];
  const types = new Set<JsonType>();
  for (const name of names) {
    const type = EVERY_TYPE.find((t) => t === name);
    if (!type) fail(path, 'is no type of JSON');
    types.add(type);
    if (type === 'number') types.add('integer');
  }
  return types;
}

function lower({ min, aboveMin }: Shape, value: number, left: boolean): Partial<Shape> {
  if (value === min) return { aboveMin: aboveMin || left };
  return value > min ? { min: value, aboveMin: left } : {};
}

function upper({ max, belowMax }: Shape, value: number, left: boolean): Partial<Shape> {
  if (value === max) return { belowMax: belowMax || left };
  return value < max ? { max: value, belowMax: left } : {};
}

function numberOf(value: unknown, path: string): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) fail(path, 'is no number');
  return value;
}

function countOf(value: unknown, path: string): number {
  if (!Number.isInteger(value) || (value as number) < 0) fail(path, 'is no count');
  return value as number;
}

function textOf(value: unknown, path: string): string {
  if (typeof value !== 'string') fail(path, 'is no text');
  return value;
}

function isKeywords(value: unknown): value is Keywords {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A name as JSON Pointer writes it (RFC 6901). */
function pointerPart(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}

function nameOf(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~');
}

function fail(path: string, what: string): never {
  throw new ConstraintError(`${path}: ${what}`);
}
