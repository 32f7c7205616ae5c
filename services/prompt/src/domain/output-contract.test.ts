import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import {
  FieldsContract_FieldType as FieldType,
  OutputContractSchema,
} from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import fc from 'fast-check';
import { RE2JS } from 're2js';
import { expect, test } from 'vitest';
import { fieldsPattern } from './answer-fields.ts';
import { checkContract, checkOutput, constraintOf, repairRequest } from './output-contract.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`output contracts: LANDFALL_TEST_SEED=${seed}\n`);

const contract = (kind: MessageInitShape<typeof OutputContractSchema>['kind'], unconstrained = false) =>
  create(OutputContractSchema, { kind: kind!, unconstrained });
const schema = (value: object) => contract({ case: 'jsonSchema', value: JSON.stringify(value) });
const regex = (value: string) => contract({ case: 'regex', value });
const fields = (list: object[], freeTextBefore = false) =>
  contract({ case: 'fields', value: { fields: list, freeTextBefore } });

const order = schema({
  type: 'object',
  properties: { name: { type: 'string', pattern: '^[a-z]+$' }, count: { type: 'integer', minimum: 1 } },
  required: ['name', 'count'],
  additionalProperties: false,
});
const report = fields([
  { name: 'found', label: '缺陷检测结果', type: FieldType.ENUM, values: ['有缺陷', '无缺陷'] },
  { name: 'size', label: '大小', type: FieldType.NUMBER },
  { name: 'advice', label: '处理建议', optional: true },
]);

test.each([
  ['JSON alone', order, ' {"name":"a","count":2}\n', { name: 'a', count: 2 }],
  ['JSON in a fence', order, '```json\n{"name":"a","count":2}\n```', { name: 'a', count: 2 }],
  ['one of', contract({ case: 'oneOf', value: { options: ['正面', '负面'] } }), '正面\n', '正面'],
  ['a pattern', regex('[0-9]{2}-[A-Z]+'), '12-AB', '12-AB'],
  [
    'fields',
    report,
    '缺陷检测结果:有缺陷\n大小: 1.5\n处理建议: 更换',
    { found: '有缺陷', size: 1.5, advice: '更换' },
  ],
  ['marks', report, '- **缺陷检测结果:** 无缺陷\n* 大小:2', { found: '无缺陷', size: 2 }],
  [
    'the last of several after steps',
    fields([{ name: 'answer', label: 'Answer' }], true),
    'Answer: first I add.\nThat is 4.\nAnswer: 4',
    { answer: '4' },
  ],
])('%s is read', (_name, one, text, value) => {
  expect(checkOutput(one, text)).toEqual({ ok: true, value, problems: [] });
});

test.each([
  ['no JSON', order, 'sure: {"name"', 'is not JSON'],
  ['a wrong member', order, '{"name":"A","count":2}', '/name must match pattern'],
  ['two wrong members', order, '{"name":"a","count":0,"x":1}', "must NOT have additional properties: 'x'"],
  ['another text', contract({ case: 'oneOf', value: { options: ['正面', '负面'] } }), '正面的', '正面, 负面'],
  ['a part of a match', regex('[0-9]{2}'), '123', 'as a whole'],
  ['a missing line', report, '大小: 1', "'缺陷检测结果: ...' is missing"],
  ['a value out of the list', report, '缺陷检测结果: 也许\n大小: 1', '有缺陷, 无缺陷'],
  ['no number', report, '缺陷检测结果: 有缺陷\n大小: 很大', 'is no number'],
  ['a line too many', report, '好的\n缺陷检测结果: 有缺陷\n大小: 1', "'好的' is no field"],
  ['the wrong order', report, '大小: 1\n缺陷检测结果: 有缺陷', 'out of order'],
  ['deep JSON', schema({}), `${'['.repeat(500)}${']'.repeat(500)}`, 'nested more than 128'],
  ['a long answer', order, 'x'.repeat(300_000), 'at most 262144'],
])('%s is told', (_name, one, text, problem) => {
  const checked = checkOutput(one, text);
  expect(checked.ok).toBe(false);
  expect(checked.problems.join('\n')).toContain(problem);
  expect(repairRequest(checked.problems, '请回答')).toContain('请只给出改正后的回答');
});

test('each pattern is its own', () => {
  const two = schema({ properties: { a: { pattern: '^x$' }, b: { pattern: '^y$' } } });
  expect(checkOutput(two, '{"a":"x","b":"y"}').ok).toBe(true);
  expect(checkOutput(two, '{"a":"x","b":"x"}').problems).toEqual(['/b must match pattern "^y$"']);
});

test('all problems of a short answer are told at once, so that one retry can mend them', () => {
  expect(checkOutput(order, '{"name":"A","count":0}').problems).toHaveLength(2);
});

const deep = (depth: number): object => (depth === 0 ? {} : { properties: { a: deep(depth - 1) } });
const doubling = Object.fromEntries(
  Array.from({ length: 14 }, (_, i) => [
    `d${i}`,
    i === 0 ? {} : { allOf: [{ $ref: `#/$defs/d${i - 1}` }, { $ref: `#/$defs/d${i - 1}` }] },
  ]),
);

test.each([
  ['no JSON', contract({ case: 'jsonSchema', value: '{x' }), 'draft.output_contract.json_schema'],
  ['a list', contract({ case: 'jsonSchema', value: '[]' }), 'draft.output_contract.json_schema'],
  ['an unknown keyword', schema({ typ: 'object' }), 'typ'],
  ['a recursive schema', schema({ properties: { a: { $ref: '#' } } }), 'recursive'],
  [
    'recursion through definitions',
    schema({
      $ref: '#/$defs/a',
      $defs: { a: { items: { $ref: '#/$defs/b' } }, b: { items: { $ref: '#/$defs/a' } } },
    }),
    'recursive',
  ],
  ['a remote reference', schema({ $ref: 'https://example.com/x' }), 'leads out'],
  ['references that double', schema({ $ref: '#/$defs/d13', $defs: doubling }), 'more than 500 schemas'],
  ['depth', schema(deep(40)), 'more than 32'],
  ['a costly pattern in a schema', schema({ pattern: '(a+)+b' }), 'endless repetition'],
  ['a costly pattern', regex('(a+)+b'), 'endless repetition'],
  ['a large pattern', regex('((a{1,100}){1,100}){1,100}'), 'output_contract.regex'],
  ['a back-reference', regex('(a)\\1'), 'linear time'],
  ['a look-ahead', regex('(?=a)b'), 'linear time'],
  ['fields of one name', fields([{ name: 'a' }, { name: 'a', label: 'b' }]), 'fields[1].name'],
  ['fields of one label', fields([{ name: 'a' }, { name: 'b', label: 'a' }]), 'fields[1].label'],
  ['an empty enumeration', fields([{ name: 'a', type: FieldType.ENUM }]), 'fields[0].values'],
  ['a label of marks', fields([{ name: 'a', label: '- a' }]), 'fields[0].label'],
])('%s is no contract', (_name, one, text) => {
  expect(() => checkContract(one)).toThrow(
    expect.objectContaining({ code: status.INVALID_ARGUMENT, message: expect.stringContaining(text) }),
  );
});

test('what is held while decoding', () => {
  expect(constraintOf(regex('a'))?.kind).toEqual({ case: 'regex', value: 'a' });
  expect(constraintOf(order)?.kind.case).toBe('jsonSchema');
  expect(constraintOf(contract({ case: 'regex', value: 'a' }, true))).toBeUndefined();
  const many = Array.from({ length: 64 }, (_, i) => ({ name: `f${i}`, label: '长'.repeat(60) + i }));
  expect(constraintOf(fields(many))).toBeUndefined();
});

const line = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 12 })
  .map((text) => text.replace(/[:\uff1a\n\r]/g, ''));
const label = line.filter((text) => text !== '' && !/^[\s>*#\u2022-]|[\s*]$/.test(text));
const field = fc.record({
  label,
  type: fc.constantFrom(FieldType.TEXT, FieldType.NUMBER, FieldType.ENUM),
  values: fc.uniqueArray(label, { minLength: 1, maxLength: 4 }),
  optional: fc.boolean(),
});

test('whatever the pattern of fields lets through is read as those fields', () => {
  const property = fc.property(
    fc.uniqueArray(field, { selector: (one) => one.label, minLength: 1, maxLength: 5 }),
    fc.boolean(),
    fc.infiniteStream(fc.tuple(label, fc.integer(), fc.nat(), fc.boolean())),
    (list, free, stream) => {
      const named = list.map((one, i) => ({ ...one, name: `f${i}` }));
      const one = fields(named, free);
      const expected: Record<string, string | number> = {};
      const lines = named.flatMap(({ name, label: head, type, values, optional }) => {
        const [text, number, choice, left] = stream.next().value;
        if (optional && left) return [];
        const value =
          type === FieldType.NUMBER
            ? number
            : type === FieldType.ENUM
              ? values[choice % values.length]!
              : text;
        expected[name] = value;
        return [`${head}: ${value}`];
      });
      const text = `${free ? '…\n' : ''}${lines.join('\n')}`;
      // An answer whose first line is optional and missing begins with a line end, which is left out before the check.
      const decoded = !free && !text.startsWith(`${named[0]!.label}: `) ? `\n${text}` : text;
      if (one.kind.case !== 'fields') throw new Error('no fields');
      if (lines.length > 0) expect(RE2JS.compile(fieldsPattern(one.kind.value)).matches(decoded)).toBe(true);
      expect(checkOutput(one, text)).toEqual({ ok: true, value: expected, problems: [] });
    },
  );
  fc.assert(property, { seed, numRuns: 300 });
});

test('no answer makes the check throw', () => {
  const kinds = [
    order,
    report,
    regex('(\\p{L}|[0-9]){1,5}'),
    schema({ uniqueItems: true, items: { format: 'email' } }),
  ];
  const property = fc.property(
    fc.constantFrom(...kinds),
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc.jsonValue().map((value) => JSON.stringify(value)),
    ),
    (one, text) => {
      const checked = checkOutput(one, text);
      expect(checked.ok).toBe(checked.problems.length === 0);
    },
  );
  fc.assert(property, { seed });
});

test('names of every JavaScript object are names like any other in constants and enumerations', () => {
  for (const name of ['valueOf', 'toString', 'constructor', 'hasOwnProperty']) {
    const value = { [name]: { deep: [false] } };
    for (const one of [schema({ const: value }), schema({ enum: [1, value] })]) {
      expect(checkOutput(one, JSON.stringify(value)), name).toMatchObject({ ok: true, value });
      expect(checkOutput(one, `{"${name}":{"deep":[true]}}`), name).toMatchObject({ ok: false });
      expect(checkOutput(one, '{}').problems[0], name).toMatch(/must be equal/);
    }
  }
});
