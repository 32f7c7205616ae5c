import { create } from '@bufbuild/protobuf';
import { FieldsContract_FieldType as FieldType } from '@landfall/proto/landfall/prompt/v1/output_contract_pb.js';
import { ChangeKind, TemplateFormat, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { expect, test } from 'vitest';
import { weightOf } from './change.ts';
import { changeReplies, changesBetween } from './changes.ts';
import { turnDiffs } from './turn-diff.ts';
import { nextVersion } from './versions.ts';

type Draft = Record<string, unknown> & { messages: object[] };
const text = (value: string) => ({ kind: { case: 'stringValue', value } as const });
const base: Draft = {
  messages: [{ role: 'user', template: 'a {x} {n}' }],
  variables: [
    { name: 'x', required: true, description: 'the x', examples: [text('1')] },
    { name: 'n', type: VariableType.NUMBER, minimum: 1, maximum: 9 },
    { name: 'e', type: VariableType.ENUM, enumValues: ['a', 'b'], defaultValue: text('a') },
  ],
  outputContract: { kind: { case: 'jsonSchema', value: '{"type":"object","required":["a"]}' } },
  changeLog: 'first',
};
const changes = (after: Draft, before: Draft = base) =>
  changesBetween(create(PromptDraftSchema, before as never), create(PromptDraftSchema, after as never));
const [x, n, e] = base.variables as [object, { type: VariableType }, object];
const fields = (description: string) =>
  ({
    kind: { case: 'fields', value: { fields: [{ name: 'a', type: FieldType.TEXT, description }] } },
  }) as const;
const { MAJOR, MINOR, PATCH, UNSPECIFIED } = ChangeKind;

test.each<[string, ChangeKind, string[], Draft]>([
  ['nothing', UNSPECIFIED, [], base],
  ['the change log alone', UNSPECIFIED, [], { ...base, changeLog: 'second' }],
  ['a variable that is gone', MAJOR, ['variables.n'], { ...base, variables: [x, e] }],
  [
    'a new required one',
    MAJOR,
    ['variables.y'],
    { ...base, variables: [x, n, e, { name: 'y', required: true }] },
  ],
  ['a new optional one', MINOR, ['variables.y'], { ...base, variables: [x, n, e, { name: 'y' }] }],
  [
    'a new required one with a default',
    MINOR,
    ['variables.y'],
    { ...base, variables: [x, n, e, { name: 'y', required: true, defaultValue: text('') }] },
  ],
  [
    'another type',
    MAJOR,
    ['variables.x.type'],
    { ...base, variables: [{ ...x, type: VariableType.LIST }, n, e] },
  ],
  [
    'the same type said',
    UNSPECIFIED,
    [],
    { ...base, variables: [{ ...x, type: VariableType.STRING }, n, e] },
  ],
  [
    'newly required',
    MAJOR,
    ['variables.n.required'],
    { ...base, variables: [x, { ...n, required: true }, e] },
  ],
  [
    'no longer required',
    MINOR,
    ['variables.x.required'],
    { ...base, variables: [{ ...x, required: false }, n, e] },
  ],
  [
    'a value less',
    MAJOR,
    ['variables.e.enum_values'],
    { ...base, variables: [x, n, { ...e, enumValues: ['a'] }] },
  ],
  [
    'a value more',
    MINOR,
    ['variables.e.enum_values'],
    { ...base, variables: [x, n, { ...e, enumValues: ['a', 'b', 'c'] }] },
  ],
  [
    'another default',
    MINOR,
    ['variables.e.default_value'],
    { ...base, variables: [x, n, { ...e, defaultValue: text('b') }] },
  ],
  ['narrower', MAJOR, ['variables.n.minimum'], { ...base, variables: [x, { ...n, minimum: 2 }, e] }],
  ['wider', MINOR, ['variables.n.maximum'], { ...base, variables: [x, { ...n, maximum: 10 }, e] }],
  [
    'no bound any more',
    MINOR,
    ['variables.n.minimum'],
    { ...base, variables: [x, { name: 'n', type: n.type, maximum: 9 }, e] },
  ],
  ['shorter', MAJOR, ['variables.x.max_length'], { ...base, variables: [{ ...x, maxLength: 10 }, n, e] }],
  ['a pattern', MAJOR, ['variables.x.pattern'], { ...base, variables: [{ ...x, pattern: 'a+' }, n, e] }],
  [
    'a description',
    PATCH,
    ['variables.x.description'],
    { ...base, variables: [{ ...x, description: '' }, n, e] },
  ],
  ['an example', PATCH, ['variables.x.examples'], { ...base, variables: [{ ...x, examples: [] }, n, e] }],
  [
    'other words',
    MINOR,
    ['messages[0].template'],
    { ...base, messages: [{ role: 'user', template: 'b {x} {n}' }] },
  ],
  [
    'a turn more',
    MINOR,
    ['messages[1].role', 'messages[1].template'],
    { ...base, messages: [...base.messages, { role: 'assistant', template: 'ok' }] },
  ],
  ['sampling', MINOR, ['sampling'], { ...base, sampling: { temperature: 0.5 } }],
  ['another format', MINOR, ['format'], { ...base, format: TemplateFormat.JINJA }],
  ['samples', MINOR, ['self_consistency'], { ...base, selfConsistency: { samples: 5 } }],
  ['examples', MINOR, ['few_shot'], { ...base, fewShot: { examples: [{ output: 'a' }] } }],
  ['tests', PATCH, ['tests'], { ...base, tests: [{ expected: 'a' }] }],
  [
    'a schema written otherwise',
    PATCH,
    ['output_contract'],
    {
      ...base,
      outputContract: { kind: { case: 'jsonSchema', value: '{ "required": ["a"], "type": "object" }' } },
    },
  ],
  [
    'another schema',
    MAJOR,
    ['output_contract'],
    { ...base, outputContract: { kind: { case: 'jsonSchema', value: '{}' } } },
  ],
  ['another contract', MAJOR, ['output_contract'], { ...base, outputContract: fields('') }],
  [
    'unheld',
    MINOR,
    ['output_contract'],
    { ...base, outputContract: { ...(base.outputContract as object), unconstrained: true } },
  ],
])('%s', (_name, kind, paths, after) => {
  const found = changes(after);
  expect(found.map(({ path }) => path)).toEqual(paths);
  expect(weightOf(found)).toBe(kind);
  expect(changeReplies(found)).toHaveLength(paths.length);
});

test('what a field means is said about the same contract', () => {
  const after = { ...base, outputContract: fields('what it is') };
  expect(weightOf(changes(after, { ...base, outputContract: fields('') }))).toBe(PATCH);
});

test('the weightiest change proposes the number', () => {
  expect(nextVersion('', MAJOR)).toBe('1.0.0');
  expect([MAJOR, MINOR, PATCH, UNSPECIFIED].map((kind) => nextVersion('1.2.3', kind))).toEqual([
    '2.0.0',
    '1.3.0',
    '1.2.4',
    '1.2.4',
  ]);
});

const turn = (role: string, template: string) =>
  ({ $typeName: 'landfall.prompt.v1.TemplateMessage', role, template }) as const;
const shown = (before: object[], after: object[]) =>
  turnDiffs(before as never, after as never).map(({ before: a, after: b, role, lines }) => [
    role,
    a,
    b,
    lines.map(({ side, text: line }) => `${' -+'[side - 1]}${line}`).join('\n'),
  ]);

test('turns are compared line by line, and a turn put in before others leaves them alone', () => {
  const user = turn('user', 'a\nb\nc');
  expect(shown([user], [user])).toEqual([]);
  expect(shown([user], [turn('system', 's'), user])).toEqual([['system', undefined, 0, '+s']]);
  expect(shown([user], [turn('user', 'a\nx\nc')])).toEqual([['user', 0, 0, ' a\n-b\n+x\n c']]);
  expect(shown([turn('system', 's'), user], [turn('assistant', 'q'), turn('user', 'a')])).toEqual([
    ['system', 0, undefined, '-s'],
    ['assistant', undefined, 0, '+q'],
    ['user', 1, 1, ' a\n-b\n-c'],
  ]);
});

test('texts that have nothing in common cost no time', () => {
  const lines = (letter: string) => Array.from({ length: 60_000 }, (_, i) => `${letter}${i}`).join('\n');
  const diff = turnDiffs([turn('user', lines('a'))] as never, [turn('user', lines('b'))] as never);
  expect(diff[0]!.lines).toHaveLength(120_000);
});
