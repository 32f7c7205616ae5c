/**
 * Prints buf/validate/validate.proto from the descriptor inside @bufbuild/protovalidate, so that the
 * contracts compile without a schema registry and always match the runtime that enforces them.
 * Field options (defaults of the rules themselves) are left out: the runtime has its own copy of them.
 * Run it again after an update of that package: `node proto/vendor-validate.ts`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';
import { file_buf_validate_validate as file } from '@bufbuild/protovalidate/gen/buf/validate/validate_pb.js';

const scalar = (type: Type) => Type[type]?.toLowerCase();

function fieldLine(field: FieldDescriptorProto, inOneof: boolean): string {
  const named = field.type === Type.MESSAGE || field.type === Type.ENUM;
  const type = named ? field.typeName : scalar(field.type);
  const label = inOneof ? '' : field.label === Label.REPEATED ? 'repeated ' : 'optional ';
  return `${label}${type} ${field.name} = ${field.number};`;
}

function enumLines(desc: EnumDescriptorProto): string[] {
  return [`enum ${desc.name} {`, ...desc.value.map((v) => `  ${v.name} = ${v.number};`), '}'];
}

function messageLines(desc: DescriptorProto): string[] {
  const body: string[] = [];
  for (const nested of desc.nestedType) body.push(...messageLines(nested));
  for (const nested of desc.enumType) body.push(...enumLines(nested));
  for (const [index, oneof] of desc.oneofDecl.entries()) {
    const members = desc.field.filter((f) => Object.hasOwn(f, 'oneofIndex') && f.oneofIndex === index);
    body.push(`oneof ${oneof.name} {`, ...members.map((f) => `  ${fieldLine(f, true)}`), '}');
  }
  for (const field of desc.field) {
    if (!Object.hasOwn(field, 'oneofIndex')) body.push(fieldLine(field, false));
  }
  for (const range of desc.extensionRange) {
    const last = range.end > 536_870_000 ? 'max' : String(range.end - 1);
    body.push(`extensions ${range.start} to ${last};`);
  }
  return [`message ${desc.name} {`, ...body.map((line) => `  ${line}`), '}'];
}

const proto = file.proto;
const lines = [
  '// Printed by proto/vendor-validate.ts from @bufbuild/protovalidate; do not edit.',
  'syntax = "proto2";',
  `package ${proto.package};`,
  ...proto.dependency.map((path) => `import "${path}";`),
];
for (const desc of proto.enumType) lines.push(...enumLines(desc));
for (const desc of proto.messageType) lines.push(...messageLines(desc));
for (const field of proto.extension) {
  lines.push(`extend ${field.extendee} {`, `  ${fieldLine(field, false)}`, '}');
}
const path = join(import.meta.dirname, 'third_party', proto.name);
mkdirSync(dirname(path), { recursive: true });
writeFileSync(path, `${lines.join('\n')}\n`);
