/** A JSON schema of an object, as far as examples show it. */
export interface ObjectSchema {
  type: 'object';
  properties: Record<string, { type: string | string[]; enum?: string[] }>;
  required: string[];
  additionalProperties: false;
}

const MOST_MEMBERS = 64;
const MOST_VALUES = 8;

/** Members that some object has with the types that they have; those that all have are required. */
export function inferSchema(objects: readonly Record<string, unknown>[]): ObjectSchema {
  const names = [...new Set(objects.flatMap((object) => Object.keys(object)))].slice(0, MOST_MEMBERS);
  const properties = Object.fromEntries(names.map((name) => [name, memberOf(objects, name)]));
  const required = names.filter((name) => objects.every((object) => Object.hasOwn(object, name)));
  return { type: 'object', properties, required, additionalProperties: false };
}

function memberOf(objects: readonly Record<string, unknown>[], name: string) {
  const values = objects.filter((object) => Object.hasOwn(object, name)).map((object) => object[name]);
  const types = [...new Set(values.map(typeOf))].sort();
  const texts = [...new Set(values)].filter((value) => typeof value === 'string');
  // Texts that come again and again are a choice.
  const isChoice = types.length === 1 && types[0] === 'string' && texts.length <= MOST_VALUES;
  if (isChoice && values.length >= 3 * texts.length) return { type: 'string', enum: texts.sort() };
  return { type: types.length === 1 ? types[0]! : types };
}

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value;
}
