import { invalidArgument } from '@landfall/common/errors/errors.ts';
import { linearRegex } from './linear-regex.ts';

const DEEPEST = 32;
/** Schemas within the schema, with every reference followed: what a check may cost. */
const MOST_SCHEMAS = 500;
const MAPS = ['properties', 'patternProperties', 'dependentSchemas', 'dependencies'];
const LISTS = ['allOf', 'anyOf', 'oneOf', 'prefixItems'];
const SINGLE = [
  ...['items', 'contains', 'additionalProperties', 'propertyNames', 'not', 'if', 'then', 'else'],
  ...['unevaluatedItems', 'unevaluatedProperties', 'contentSchema'],
];
const REFUSED = ['$id', '$anchor', '$dynamicRef', '$dynamicAnchor', '$recursiveRef', '$vocabulary', '$data'];

type Schema = Record<string, unknown>;

const isSchema = (value: unknown): value is Schema =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/**
 * Bounds of a schema, before anything compiles it: at most 32 deep and 500 schemas with references followed, none
 * recursive, none out of the schema.
 *
 * @returns what a character of an answer may cost: schemas, and instructions of patterns
 * @throws LandfallError INVALID_ARGUMENT naming the place as a JSON pointer
 */
export function checkSchemaBounds(root: Schema, field: string): number {
  let [seen, cost] = [0, 0];
  const fail = (place: string, what: string): never => {
    throw invalidArgument(field, `${place || '/'}: ${what}`);
  };
  const pattern = (text: unknown, place: string) => {
    if (typeof text === 'string') cost += linearRegex(text, `${field} ${place}`).size;
  };
  const visit = (schema: unknown, place: string, depth: number, following: readonly string[]): void => {
    if (!isSchema(schema)) return;
    if (depth > DEEPEST) fail(place, `is more than ${DEEPEST} schemas deep`);
    seen += 1;
    cost += 1;
    if (seen > MOST_SCHEMAS) fail(place, `more than ${MOST_SCHEMAS} schemas, counting every reference`);
    for (const keyword of REFUSED) if (Object.hasOwn(schema, keyword)) fail(place, `${keyword} is not taken`);
    pattern(schema.pattern, `${place}/pattern`);
    const reference = schema.$ref;
    if (typeof reference === 'string') {
      const shown = reference.slice(0, 100);
      if (!reference.startsWith('#')) fail(place, `$ref '${shown}' leads out of the schema`);
      if (following.includes(reference)) fail(place, `$ref '${shown}' is recursive`);
      visit(target(root, reference), reference.slice(1), depth + 1, [...following, reference]);
    }
    // Definitions cost where they are referred to.
    for (const keyword of MAPS) {
      for (const [name, one] of Object.entries(isSchema(schema[keyword]) ? schema[keyword] : {})) {
        const at = `${place}/${keyword}/${name}`.slice(0, 200);
        if (keyword === 'patternProperties') pattern(name, at);
        visit(one, at, depth + 1, following);
      }
    }
    for (const keyword of LISTS) {
      const inner = schema[keyword];
      if (!Array.isArray(inner)) continue;
      for (const [i, one] of inner.entries()) visit(one, `${place}/${keyword}/${i}`, depth + 1, following);
    }
    for (const keyword of SINGLE) visit(schema[keyword], `${place}/${keyword}`, depth + 1, following);
  };
  visit(root, '', 0, ['#']);
  return cost;
}

/** What a JSON pointer of the schema leads to; undefined where it leads nowhere (the compiler says so). */
function target(root: Schema, reference: string): unknown {
  let at: unknown = root;
  for (const part of reference.slice(1).split('/').slice(1)) {
    const key = decoded(part).replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Schema)[key];
  }
  return at;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
