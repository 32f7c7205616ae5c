import { create, equals, fromJson, type JsonValue } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { FewShot_Selection as Selection } from '@landfall/proto/landfall/prompt/v1/few_shot_pb.js';
import { type PromptFile, PromptFileSchema } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import { FieldsContract_FieldType as FieldType } from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import { PromptTask, TemplateFormat, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { readPromptFile, writePromptFile } from './prompt-file.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`prompt files: LANDFALL_TEST_SEED=${seed}\n`);

const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 30 }),
  fc.string({ unit: 'binary', maxLength: 10 }),
  fc.constantFrom(
    '---',
    '::: user',
    ':::: system\n::: user',
    '\n---\n',
    ' x ',
    '"',
    "'",
    '# a',
    '- a',
    'yes',
    'null',
    '1e3',
  ),
  fc.constantFrom(
    'a\r\nb',
    '\r',
    '\n',
    '\n\n',
    'a\n',
    '|',
    '>',
    '%',
    '@x',
    '`',
    '{{x}}',
    '&a',
    '*a',
    '!!x',
    '\t',
    '\u2028',
  ),
);
const filled = text.filter((one) => one !== '');
const json: fc.Arbitrary<JsonValue> = fc.jsonValue({ stringUnit: 'grapheme', maxDepth: 2 }) as never;
const values = fc.dictionary(fc.constantFrom('a', 'b', '__proto__', '1'), json, { maxKeys: 3 }) as never;
const number = fc.double({ noNaN: true, noDefaultInfinity: true });
const optional = <T>(one: fc.Arbitrary<T>) => fc.option(one, { nil: undefined });

const variable = fc.record({
  name: fc.constantFrom('a', 'b', '_c'),
  type: fc.constantFrom(...[0, 1, 2, 3, 4, 5, 6]) as fc.Arbitrary<VariableType>,
  description: text,
  required: fc.boolean(),
  defaultValue: optional(json.map((value) => fromJson(ValueSchema, value))),
  enumValues: fc.array(text, { maxLength: 3 }),
  minimum: optional(number),
  maximum: optional(number),
  integer: fc.boolean(),
  examples: fc.array(
    json.map((value) => fromJson(ValueSchema, value)),
    { maxLength: 2 },
  ),
  pattern: text,
});
const contract = fc.oneof(
  fc.record({
    case: fc.constant('jsonSchema' as const),
    value: fc.oneof(
      text,
      fc.json(),
      json.map((value) => JSON.stringify(value)),
    ),
  }),
  fc.record({
    case: fc.constant('oneOf' as const),
    value: fc.record({ options: fc.array(text, { maxLength: 3 }) }),
  }),
  fc.record({ case: fc.constant('regex' as const), value: text }),
  fc.record({
    case: fc.constant('fields' as const),
    value: fc.record({
      fields: fc.array(
        fc.record({
          name: text,
          label: text,
          type: fc.constantFrom(FieldType.TEXT, FieldType.ENUM),
          values: fc.array(text, { maxLength: 2 }),
          optional: fc.boolean(),
          description: text,
        }),
        { maxLength: 3 },
      ),
      freeTextBefore: fc.boolean(),
    }),
  }),
);
const file = fc.record({
  name: fc.constantFrom('a', 'b-c'),
  version: fc.constantFrom('', '1.2.3'),
  description: text,
  task: fc.constantFrom(PromptTask.UNSPECIFIED, PromptTask.CLASSIFICATION, PromptTask.CHAIN_OF_THOUGHT),
  language: fc.constantFrom('', 'zh'),
  draft: fc.record({
    messages: fc.array(
      fc.record({ role: fc.constantFrom('system', 'user', 'assistant'), template: filled }),
      { minLength: 1, maxLength: 4 },
    ),
    variables: fc.array(variable, { maxLength: 3 }),
    changeLog: text,
    format: fc.constantFrom(TemplateFormat.UNSPECIFIED, TemplateFormat.JINJA),
    sampling: optional(
      fc.record({
        temperature: number,
        maxTokens: fc.nat(),
        seed: fc.constant(2n ** 60n),
        stop: fc.array(text),
      }),
    ),
    outputContract: optional(fc.record({ kind: contract, unconstrained: fc.boolean() })),
    fewShot: optional(
      fc.record({
        examples: fc.array(fc.record({ variables: values, output: text }), { maxLength: 3 }),
        selection: fc.constantFrom(Selection.UNSPECIFIED, Selection.SIMILAR),
        template: text,
      }),
    ),
    selfConsistency: optional(fc.record({ samples: fc.nat(16) })),
    tests: fc.array(fc.record({ variables: values, expected: text }), { maxLength: 3 }),
  }),
});

test('what is written is read back without loss, whatever it holds', () => {
  const property = fc.property(file, (init) => {
    const given = create(PromptFileSchema, init as never) as PromptFile;
    const written = writePromptFile(given);
    const read = readPromptFile(written, 'content');
    expect(read).toEqual(given);
    expect(equals(PromptFileSchema, read, given)).toBe(true);
    expect(writePromptFile(read)).toBe(written);
  });
  fc.assert(property, { seed, numRuns: 300 });
});

const example = `---
landfall_prompt: 1
name: triage
version: 1.0.0
task: classification
variables:
  - name: text
    type: string
    required: true
  - name: level
    type: VARIABLE_TYPE_ENUM
    enum_values: [low, high]
output_contract:
  json_schema:
    type: object
    required: [label]
---
::: system
You label texts.
::: user
{text}
`;

test('a file that a person wrote is read, with either line ends', () => {
  const read = readPromptFile(example, 'content');
  expect(read).toMatchObject({ name: 'triage', task: PromptTask.CLASSIFICATION });
  expect(read.draft!.variables.map(({ type }) => type)).toEqual([VariableType.STRING, VariableType.ENUM]);
  expect(read.draft!.outputContract!.kind).toEqual({
    case: 'jsonSchema',
    value: '{"type":"object","required":["label"]}',
  });
  expect(read.draft!.messages.map(({ template }) => template)).toEqual(['You label texts.', '{text}']);
  expect(readPromptFile(example.replaceAll('\n', '\r\n'), 'content')).toEqual(read);
  expect(readPromptFile(`\ufeff${example.trimEnd()}`, 'content')).toEqual(read);
});

test.each([
  ['no head', 'name: a', 'line 1'],
  ['no end of the head', '---\nname: a', 'is missing'],
  ['another form', example.replace('landfall_prompt: 1', 'landfall_prompt: 2'), 'landfall_prompt: 1'],
  ['no turn', example.slice(0, example.indexOf(':::')), 'line 18'],
  ['broken YAML', example.replace('task: classification', 'task: [a'), 'line'],
  ['a member twice', example.replace('task: classification', 'name: b'), 'line 5'],
  ['an unknown member', example.replace('task:', 'tasks:'), 'tasks'],
  ['an unknown task', example.replace('classification', 'poetry'), 'poetry'],
  ['an ill-typed member', example.replace('required: true', 'required: 7'), 'required'],
  ['turns in the head', example.replace('task: classification', 'messages: []'), 'below the head'],
  ['a tag', example.replace('task: classification', 'task: !!js/function x'), 'line 5'],
  ['aliases', example.replace('task: classification', 'description: &a x\nlanguage: *a'), 'alias'],
  [
    'a member of a member twice',
    example.replace('required: true', 'type: string'),
    "line 9: 'type' is there twice",
  ],
  ['a key that is no text', example.replace('task: classification', '? [a]\n: b'), 'a key must be a text'],
  [
    'many keys',
    example.replace('task: classification', Array.from({ length: 90_000 }, (_, i) => `k${i}: 1`).join('\n')),
    'more than 250000 parts',
  ],
  [
    'deep indentation',
    example.replace('task: classification', `x:\n  ${'- '.repeat(40_000)}a`),
    'nested too deep',
  ],
  ['depth', example.replace('task: classification', `description: ${'['.repeat(20_000)}`), ''],
])('%s is refused by place', (_name, content, message) => {
  expect(() => readPromptFile(content, 'content')).toThrow(
    expect.objectContaining({ code: status.INVALID_ARGUMENT, message: expect.stringContaining(message) }),
  );
});
