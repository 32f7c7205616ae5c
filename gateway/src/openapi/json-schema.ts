import {
  type DescEnum,
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  ScalarType,
} from '@bufbuild/protobuf';
import { field as ruleOption } from '@landfall/proto/buf/validate/validate_pb.js';

export type Schema = Record<string, unknown>;

/** How ProtoJSON writes the types that every language knows. */
const WELL_KNOWN: Readonly<Record<string, Schema>> = {
  'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
  'google.protobuf.Duration': { type: 'string', pattern: '^-?[0-9]+(\\.[0-9]{1,9})?s$' },
  'google.protobuf.FieldMask': { type: 'string' },
  'google.protobuf.Struct': { type: 'object' },
  'google.protobuf.Value': {},
  'google.protobuf.ListValue': { type: 'array', items: {} },
  'google.protobuf.Empty': { type: 'object' },
};

/** Schemas of messages in ProtoJSON, each once, by full name. */
export class Schemas {
  readonly all: Record<string, Schema> = {};

  /** A reference to a message's schema, which is made where it is not there yet. */
  of(message: DescMessage): Schema {
    const known = WELL_KNOWN[message.typeName];
    if (known) return known;
    if (!Object.hasOwn(this.all, message.typeName)) {
      const properties: Record<string, Schema> = {};
      // Before its fields: a message may hold itself.
      this.all[message.typeName] = { type: 'object', properties };
      for (const field of message.fields) properties[field.jsonName] = this.#field(field);
    }
    return { $ref: `#/components/schemas/${message.typeName}` };
  }

  #field(field: DescField): Schema {
    switch (field.fieldKind) {
      case 'message':
        return this.of(field.message);
      case 'enum':
        return enumSchema(field.enum);
      case 'scalar':
        return { ...scalarSchema(field.scalar), ...bounds(field) };
      case 'list': {
        const items =
          field.listKind === 'message'
            ? this.of(field.message)
            : field.listKind === 'enum'
              ? enumSchema(field.enum)
              : scalarSchema(field.scalar);
        return { type: 'array', items, ...bounds(field) };
      }
      default: {
        const values =
          field.mapKind === 'message'
            ? this.of(field.message)
            : field.mapKind === 'enum'
              ? enumSchema(field.enum)
              : scalarSchema(field.scalar);
        return { type: 'object', additionalProperties: values };
      }
    }
  }
}

const enumSchema = ({ values }: DescEnum): Schema => ({
  type: 'string',
  enum: values.map(({ name }) => name),
});

function scalarSchema(scalar: ScalarType): Schema {
  switch (scalar) {
    case ScalarType.BOOL:
      return { type: 'boolean' };
    case ScalarType.STRING:
      return { type: 'string' };
    case ScalarType.BYTES:
      return { type: 'string', format: 'byte' };
    case ScalarType.FLOAT:
    case ScalarType.DOUBLE:
      return { type: 'number' };
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      // Beyond 2^53 a number of JSON is not exact.
      return { type: 'string', format: 'int64' };
    default:
      return { type: 'integer', format: 'int32' };
  }
}

/** Those of the contract's rules that JSON Schema has words for. */
function bounds(field: DescField): Schema {
  if (!hasOption(field, ruleOption)) return {};
  const { type } = getOption(field, ruleOption);
  if (type.case === 'string') {
    const { pattern, minLen, maxLen } = type.value;
    return {
      ...(pattern ? { pattern } : {}),
      ...(minLen ? { minLength: Number(minLen) } : {}),
      ...(maxLen ? { maxLength: Number(maxLen) } : {}),
    };
  }
  if (type.case === 'repeated') {
    const { minItems, maxItems } = type.value;
    return {
      ...(minItems ? { minItems: Number(minItems) } : {}),
      ...(maxItems ? { maxItems: Number(maxItems) } : {}),
    };
  }
  if (type.case === 'int32' || type.case === 'double') {
    const { greaterThan: low, lessThan: high } = type.value;
    return {
      ...(low.case === 'gte' ? { minimum: low.value } : {}),
      ...(low.case === 'gt' ? { exclusiveMinimum: low.value } : {}),
      ...(high.case === 'lte' ? { maximum: high.value } : {}),
      ...(high.case === 'lt' ? { exclusiveMaximum: high.value } : {}),
    };
  }
  return {};
}
