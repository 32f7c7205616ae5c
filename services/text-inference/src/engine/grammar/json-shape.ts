/**
 * What a JSON schema says of a value, keyword by keyword, and what two schemas say together. A key that is undefined
 * says nothing.
 */

export type JsonType = 'null' | 'boolean' | 'integer' | 'number' | 'string' | 'array' | 'object';

/** A schema where it stands, and the references that led there. */
export interface Located {
  schema: unknown;
  path: string;
  references: readonly string[];
}

/** One way to fulfil a schema: no alternatives are left in it. A list of schemas means all of them at once. */
export interface Shape {
  path: string;
  /** `number` comes with `integer`, which is a part of it. */
  types: ReadonlySet<JsonType>;
  /** From enum and const. */
  literals?: readonly unknown[] | undefined;
  min: number;
  max: number;
  aboveMin: boolean;
  belowMax: boolean;
  minLength: number;
  maxLength: number;
  patterns: readonly string[];
  formats: readonly string[];
  properties: ReadonlyMap<string, readonly Located[]>;
  required: ReadonlySet<string>;
  /** Of properties that have no name in `properties`; false allows none, undefined says nothing. */
  additional?: readonly Located[] | false | undefined;
  minItems: number;
  maxItems: number;
  prefixItems: readonly (readonly Located[])[];
  /** Of items behind the prefix. */
  items?: readonly Located[] | false | undefined;
}

export const EVERY_TYPE: readonly JsonType[] = [
  'null',
  'boolean',
  'integer',
  'number',
  'string',
  'array',
  'object',
];

/** The shape of any value. */
export function anyShape(path: string): Shape {
  return {
    path,
    types: new Set(EVERY_TYPE),
    min: Number.NEGATIVE_INFINITY,
    max: Number.POSITIVE_INFINITY,
    aboveMin: false,
    belowMax: false,
    minLength: 0,
    maxLength: Number.POSITIVE_INFINITY,
    patterns: [],
    formats: [],
    properties: new Map(),
    required: new Set(),
    minItems: 0,
    maxItems: Number.POSITIVE_INFINITY,
    prefixItems: [],
  };
}

/** What both say; undefined where no value can fulfil both, as far as that is seen here. */
export function both(a: Shape, b: Shape): Shape | undefined {
  const types = a.types.intersection(b.types);
  const literals =
    a.literals && b.literals ? a.literals.filter((x) => has(b.literals!, x)) : (a.literals ?? b.literals);
  if (types.size === 0 || literals?.length === 0) return undefined;
  const required = a.required.union(b.required);
  const properties = new Map<string, readonly Located[]>();
  for (const name of [...a.properties.keys(), ...b.properties.keys()]) {
    if (properties.has(name)) continue;
    const schemas = propertyOf(a, b, name);
    if (schemas) properties.set(name, schemas);
    else properties.set(name, [{ schema: false, path: a.path, references: [] }]);
  }
  const count = Math.max(a.prefixItems.length, b.prefixItems.length);
  const prefixItems = Array.from({ length: count }, (_, i) => [...itemOf(a, i), ...itemOf(b, i)]);
  return {
    path: b.path,
    types,
    literals,
    min: Math.max(a.min, b.min),
    max: Math.min(a.max, b.max),
    aboveMin: a.min === b.min ? a.aboveMin || b.aboveMin : a.min > b.min ? a.aboveMin : b.aboveMin,
    belowMax: a.max === b.max ? a.belowMax || b.belowMax : a.max < b.max ? a.belowMax : b.belowMax,
    minLength: Math.max(a.minLength, b.minLength),
    maxLength: Math.min(a.maxLength, b.maxLength),
    patterns: [...new Set([...a.patterns, ...b.patterns])],
    formats: [...new Set([...a.formats, ...b.formats])],
    properties,
    required,
    additional: rest(a.additional, b.additional),
    minItems: Math.max(a.minItems, b.minItems),
    maxItems: Math.min(a.maxItems, b.maxItems),
    prefixItems,
    items: rest(a.items, b.items),
  };
}

/** Whether a JSON value is one of these. */
export function has(values: readonly unknown[], value: unknown): boolean {
  return values.some((x) => sameJson(x, value));
}

/** The same JSON value, whatever the order of its properties. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const names = Object.keys(a);
  const [x, y] = [a as Record<string, unknown>, b as Record<string, unknown>];
  if (names.length !== Object.keys(b).length) return false;
  return names.every((name) => Object.hasOwn(y, name) && sameJson(x[name], y[name]));
}

/** What both say of a property; undefined where one of them allows none of this name. */
function propertyOf(a: Shape, b: Shape, name: string): readonly Located[] | undefined {
  const ofA = a.properties.get(name) ?? a.additional ?? [];
  const ofB = b.properties.get(name) ?? b.additional ?? [];
  const missing = (shape: Shape) => !shape.properties.has(name) && shape.additional === false;
  return missing(a) || missing(b) ? undefined : [...(ofA as Located[]), ...(ofB as Located[])];
}

function itemOf(shape: Shape, index: number): readonly Located[] {
  const found = shape.prefixItems[index] ?? shape.items ?? [];
  return found === false ? [{ schema: false, path: shape.path, references: [] }] : found;
}

function rest(
  a: readonly Located[] | false | undefined,
  b: readonly Located[] | false | undefined,
): readonly Located[] | false | undefined {
  if (a === false || b === false) return false;
  return a && b ? [...a, ...b] : (a ?? b);
}
