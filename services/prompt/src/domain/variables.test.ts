import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { VariableSchema, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { expect, test } from 'vitest';
import { checkDraft } from './draft.ts';
import { variableTexts } from './variables.ts';

const variable = (type: VariableType, more: object = {}) =>
  create(VariableSchema, { name: 'v', type, required: true, ...more });
const bad = {
  code: status.INVALID_ARGUMENT,
  fieldViolations: [expect.objectContaining({ field: 'variables.v' })],
};

test.each([
  [VariableType.STRING, '高', '高'],
  [VariableType.NUMBER, 1.5, '1.5'],
  [VariableType.BOOLEAN, false, 'false'],
  [VariableType.LIST, ['a', 'b'], 'a\nb'],
])('type %s takes %j', (type, value, text) => {
  expect(variableTexts([variable(type)], { v: value }).get('v')).toBe(text);
});

test.each([
  [VariableType.STRING, 1],
  [VariableType.STRING, null],
  [VariableType.NUMBER, '1'],
  [VariableType.NUMBER, true],
  [VariableType.BOOLEAN, 'true'],
  [VariableType.LIST, 'a'],
  [VariableType.LIST, [1]],
])('type %s refuses %j and names the variable', (type, value) => {
  expect(() => variableTexts([variable(type)], { v: value })).toThrow(expect.objectContaining(bad));
});

test('enumerations, lengths, defaults and missing values', () => {
  const level = variable(VariableType.ENUM, { enumValues: ['轻', '重'] });
  expect(variableTexts([level], { v: '重' }).get('v')).toBe('重');
  expect(() => variableTexts([level], { v: '中' })).toThrow(expect.objectContaining(bad));
  const short = variable(VariableType.STRING, { maxLength: 2 });
  expect(variableTexts([short], { v: '😀😀' }).get('v')).toBe('😀😀');
  expect(() => variableTexts([short], { v: 'abc' })).toThrow(expect.objectContaining(bad));
  const defaulted = variable(VariableType.STRING, {
    defaultValue: { kind: { case: 'stringValue', value: '全科' } },
  });
  expect(variableTexts([defaulted], {}).get('v')).toBe('全科');
  expect(() => variableTexts([variable(VariableType.STRING)], {})).toThrow(expect.objectContaining(bad));
  expect(variableTexts([variable(VariableType.STRING, { required: false })], {}).get('v')).toBe('');
});

test('names that objects have by themselves are no values', () => {
  expect(() => variableTexts([create(VariableSchema, { name: 'constructor', required: true })], {})).toThrow(
    'required',
  );
});

const draft = (template: string, variables: object[] = []) =>
  create(PromptDraftSchema, { messages: [{ role: 'user', template }], variables });

test('a draft without declarations requires a text for each place; one with them must declare all', () => {
  expect(checkDraft(draft('{a} {b}')).variables).toMatchObject([
    { name: 'a', type: VariableType.STRING, required: true },
    { name: 'b', required: true },
  ]);
  expect(() => checkDraft(draft('{a} {b}', [{ name: 'a' }]))).toThrow('{b} is no declared variable');
  expect(() => checkDraft(draft('{a}', [{ name: 'a' }, { name: 'a' }]))).toThrow('declared twice');
  expect(() => checkDraft(draft('{a}', [{ name: 'a', type: VariableType.ENUM }]))).toThrow('needs values');
});
