import type { DescEnum, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';

type Rename = (desc: DescEnum, name: string) => string;

/** ProtoJSON with members of enumerations as people write them: `enum` for `VARIABLE_TYPE_ENUM`. */
export const shortNames = (desc: DescMessage, json: JsonObject): JsonObject => renamed(desc, json, shortName);

/** The same backwards; full names stay, and what is no member stays for the parser to refuse. */
export const fullNames = (desc: DescMessage, json: JsonObject): JsonObject => renamed(desc, json, fullName);

const shortName: Rename = (desc, name) => {
  const prefix = prefixOf(desc);
  return name.startsWith(prefix) ? name.slice(prefix.length).toLowerCase() : name;
};

const fullName: Rename = (desc, name) => {
  const full = prefixOf(desc) + name.toUpperCase();
  return desc.values.some((value) => value.name === full) ? full : name;
};

/** `VARIABLE_TYPE_` of VariableType. */
const prefixOf = (desc: DescEnum): string =>
  `${desc.name.replace(/(?<=[a-z0-9])(?=[A-Z])/g, '_').toUpperCase()}_`;

/** Well-known types have a JSON of their own. */
const isOwn = (desc: DescMessage) => !desc.typeName.startsWith('google.protobuf.');

function renamed(desc: DescMessage, json: JsonObject, rename: Rename): JsonObject {
  const made: JsonObject = {};
  for (const [key, value] of Object.entries(json)) {
    const field = desc.fields.find(({ name, jsonName }) => name === key || jsonName === key);
    const type = field?.fieldKind === 'list' ? field.listKind : field?.fieldKind;
    let change = (one: JsonValue): JsonValue => one;
    if (type === 'enum') change = (one) => (typeof one === 'string' ? rename(field!.enum!, one) : one);
    if (type === 'message' && isOwn(field!.message!)) {
      change = (one) => (isObject(one) ? renamed(field!.message!, one, rename) : one);
    }
    const all = Array.isArray(value) && field?.fieldKind === 'list' ? value.map(change) : change(value);
    Object.defineProperty(made, key, { value: all, enumerable: true, writable: true, configurable: true });
  }
  return made;
}

const isObject = (value: JsonValue): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
