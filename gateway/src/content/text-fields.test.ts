import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import { TestSetRowSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { GenerateRequestSchema } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { expect, test } from 'vitest';
import { publicMethods } from '../edge/services.ts';
import { kindOf } from './text-fields.ts';
import { textsOf } from './texts.ts';

function fieldsOfAll(): DescField[] {
  const messages = new Map<string, DescMessage>();
  const add = (message: DescMessage) => {
    if (messages.has(message.typeName)) return;
    messages.set(message.typeName, message);
    for (const field of message.fields) if (field.message) add(field.message);
  };
  for (const { input, output } of publicMethods.values()) {
    add(input);
    add(output);
  }
  return [...messages.values()].flatMap(({ fields }) => fields);
}

test('every string field of every public contract is known for a text or a name', () => {
  const strings = fieldsOfAll().filter(({ scalar }) => scalar === 9);
  expect(strings.length).toBeGreaterThan(800);
  const unknown = strings.filter((field) => kindOf(field) === undefined);
  // Say in text-fields.ts whether policies have to look at them.
  expect(unknown.map(({ parent, name }) => `${parent.typeName}.${name}`)).toEqual([]);
});

test('texts are visited in lists, members of oneofs, structs and messages within messages', () => {
  const upper = (text: string) => text.toUpperCase();
  const request = create(GenerateRequestSchema, {
    messages: [{ role: 'user', content: 'a' }],
    model: 'm',
    sampling: { stop: ['b', 'c'] },
    constraint: { kind: { case: 'choice', value: { options: ['d'] } } },
  });
  textsOf(GenerateRequestSchema)!(request, upper);
  expect(request).toMatchObject({
    messages: [{ role: 'user', content: 'A' }],
    model: 'm',
    sampling: { stop: ['B', 'C'] },
    constraint: { kind: { case: 'choice', value: { options: ['D'] } } },
  });
  const row = create(TestSetRowSchema, { variables: { a: ['x', { b: 'y' }], n: 1 }, expected: ['z'] });
  textsOf(TestSetRowSchema)!(row, upper);
  expect(row).toMatchObject({ variables: { a: ['X', { b: 'Y' }], n: 1 }, expected: ['Z'] });
});
