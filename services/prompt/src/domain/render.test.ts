import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { FewShot_Selection as Selection } from '@landfall/proto/landfall/prompt/v1/few_shot_pb.js';
import { TemplateFormat, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { expect, test } from 'vitest';
import { checkDraft } from './draft.ts';
import { LikenessIndex, termsOf } from './likeness.ts';
import type { Part } from './parts.ts';
import { render, renderDraft } from './render.ts';
import { estimateTokens } from './tokens.ts';

type Init = MessageInitShape<typeof PromptDraftSchema>;
const draft = (init: Init) => checkDraft(create(PromptDraftSchema, init));
const turns = ({ messages }: { messages: { role: string; content: string }[] }) =>
  messages.map(({ role, content }) => `${role}: ${content}`);
const user = (template: string) => [{ role: 'user', template }];
const jinja = { format: TemplateFormat.JINJA };
const examples = [
  { variables: { q: '屏幕碎了怎么办' }, output: '硬件' },
  { variables: { q: '忘记密码 怎么办' }, output: '账号' },
  { variables: { q: 'How do I reset my password' }, output: 'account' },
];

test('a text prompt is one turn of the user', () => {
  expect(turns(renderDraft(draft({ text: 'a {q}' }), { q: 'b' }, 100))).toEqual(['user: a b']);
});

test('examples stand where the template says, in either form', () => {
  const fewShot = { examples: examples.slice(0, 2) };
  const simple = draft({ messages: user('例:\n{examples}\n问:{q}'), fewShot });
  expect(turns(renderDraft(simple, { q: 'x' }, 1000))).toEqual([
    'user: 例:\nq: 屏幕碎了怎么办\noutput: 硬件\n\nq: 忘记密码 怎么办\noutput: 账号\n问:x',
  ]);
  const own = draft({
    messages: user('{examples}\n{q}'),
    fewShot: { ...fewShot, template: '{q} => {output}' },
  });
  expect(turns(renderDraft(own, { q: 'x' }, 1000))).toEqual([
    'user: 屏幕碎了怎么办 => 硬件\n\n忘记密码 怎么办 => 账号\nx',
  ]);
  const loop = draft({
    ...jinja,
    messages: user('{% for e in examples %}{{ e.q }}={{ e.output }};{% endfor %}{{ q }}'),
    fewShot,
  });
  expect(turns(renderDraft(loop, { q: 'x' }, 1000))).toEqual([
    'user: 屏幕碎了怎么办=硬件;忘记密码 怎么办=账号;x',
  ]);
});

test('examples without a place are turns before the last question', () => {
  const chat = draft({
    messages: [{ role: 'system', template: 's' }, ...user('问:{q}')],
    fewShot: { examples: examples.slice(0, 1) },
  });
  const rendered = renderDraft(chat, { q: '{q}' }, 1000);
  expect(turns(rendered)).toEqual([
    'system: s',
    'user: 问:屏幕碎了怎么办',
    'assistant: 硬件',
    'user: 问:{q}',
  ]);
  expect(rendered.examples).toEqual([0]);
});

test('the likest examples are chosen, the likest last, within count and tokens', () => {
  const similar = (more: object) =>
    draft({ messages: user('{q}'), fewShot: { examples, selection: Selection.SIMILAR, ...more } });
  const chosen = (q: string, more: object = {}) => renderDraft(similar(more), { q }, 1000).examples;
  expect(chosen('密码忘记了', { count: 1 })).toEqual([1]);
  expect(chosen('reset PASSWORD', { count: 2 })).toEqual([0, 2]);
  expect(chosen('屏幕', {})).toEqual([2, 1, 0]);
  expect(chosen('屏幕', { maxTokens: 20 })).toEqual([1, 0]);
  expect(chosen('屏幕', { maxTokens: 3 })).toEqual([]);
});

test('terms are words, and pairs of characters where there are no spaces', () => {
  expect(termsOf('重置Password！ 密 码')).toEqual(['重置', 'password', '密', '码']);
  expect(new LikenessIndex([]).rank('x')).toEqual([]);
  expect(estimateTokens('密码abcd')).toBe(3);
});

test('pictures are told with their places, wherever else their mark stands', () => {
  const photo = (i: number) => `sha256:${String(i).repeat(64)}`;
  const both = draft({
    messages: [...user('{note}看{photo}'), { role: 'assistant', template: '好' }, ...user('和{other}')],
    variables: [
      { name: 'note' },
      { name: 'photo', type: VariableType.IMAGE, required: true },
      { name: 'other', type: VariableType.IMAGE },
    ],
    fewShot: { examples: [{ variables: { other: photo(3) }, output: '划痕' }] },
  });
  const rendered = renderDraft(both, { note: '<image>', photo: photo(1), other: photo(2) }, 1000);
  expect(turns(rendered)).toEqual([
    'user: <image>看<image>',
    'assistant: 好',
    'user: 和<image>',
    'assistant: 划痕',
    'user: 和<image>',
  ]);
  expect(rendered.images).toEqual([
    { variable: 'photo', reference: photo(1), turn: 0, offset: 8 },
    { variable: 'other', reference: photo(3), turn: 2, offset: 1 },
    { variable: 'other', reference: photo(2), turn: 4, offset: 1 },
  ]);
});

test('a model of texts is not given the mark of a picture in place of it', () => {
  const one = draft({
    messages: user('{p}{q}'),
    variables: [{ name: 'p', type: VariableType.IMAGE }, { name: 'q' }],
  });
  expect(render(one, { q: 'x' }, 100)).toHaveLength(1);
  expect(() => render(one, { p: 'https://example.com/a.png' }, 100)).toThrow(
    expect.objectContaining({
      code: status.FAILED_PRECONDITION,
      message: expect.stringContaining("'p' holds a picture"),
    }),
  );
});

const part = (reference: string, one: Init): [string, Part] => [
  reference,
  { name: reference.split('@')[0]!, version: '1.0.0', draft: draft(one) },
];

test('other prompts are put in, in their own form and with their own variables', () => {
  const parts = new Map([
    part('tone@live', {
      text: '语气:{tone}',
      variables: [{ name: 'tone', defaultValue: { kind: { case: 'stringValue', value: '友好' } } }],
    }),
    part('who@live', {
      ...jinja,
      text: '{% if vip %}VIP{% else %}{% include "tone@live" %}{% endif %}',
      variables: [{ name: 'vip', type: VariableType.BOOLEAN }],
    }),
  ]);
  const host = create(PromptDraftSchema, { messages: user('{> who@live}|{q}') });
  const checked = checkDraft(host, parts);
  const rendered = (values: object) => turns(renderDraft(checked, values as never, 1000, parts));
  expect(rendered({ q: '{> tone@live}' })).toEqual(['user: 语气:友好|{> tone@live}']);
  expect(rendered({ q: 'x', vip: true })).toEqual(['user: VIP|x']);
  expect(rendered({ q: 'x', tone: '{q}' })).toEqual(['user: 语气:{q}|x']);
  expect(() => rendered({ q: 'x', tone: 1 })).toThrow('variables.tone: must be a text');
  expect(() => renderDraft(checked, { q: 'x' }, 1000)).toThrow(
    expect.objectContaining({ code: status.FAILED_PRECONDITION }),
  );
});

test('prompts that put the next in twice, and so on, end within their budget', () => {
  const twice = (next: string) => `{> ${next}@x}{> ${next}@x}`.repeat(20);
  const parts = new Map(
    Array.from({ length: 8 }, (_, i) => part(`p${i}@x`, { text: i === 7 ? ' ' : twice(`p${i + 1}`) })),
  );
  const host = create(PromptDraftSchema, { messages: user(twice('p0')) });
  expect(() => renderDraft(host, {}, 1e9, parts)).toThrow(
    expect.objectContaining({ code: status.RESOURCE_EXHAUSTED }),
  );
  expect(() => renderDraft(host, {}, 1000, parts)).toThrow(
    expect.objectContaining({ code: status.INVALID_ARGUMENT }),
  );
});

test.each<[string, Init, string]>([
  [
    'an unknown name in Jinja',
    { ...jinja, messages: user('{{ a }}{{ b }}'), variables: [{ name: 'a' }] },
    "'b' is no declared variable",
  ],
  [
    'a broken Jinja turn',
    { ...jinja, messages: [...user('x'), ...user('{% if %}')] },
    'draft.messages[1].template',
  ],
  [
    'an example of unknown values',
    { messages: user('{q}'), fewShot: { examples: [{ variables: { z: 1 }, output: 'a' }] } },
    'draft.few_shot.examples[0].variables.z',
  ],
  [
    'an ill-typed example',
    { messages: user('{q}'), fewShot: { examples: [{ variables: { q: 1 }, output: 'a' }] } },
    'few_shot.examples[0].variables.q: must be a text',
  ],
  [
    'likeness by an unknown name',
    { messages: user('{q}'), fewShot: { examples: [examples[0]!], by: ['z'] } },
    'draft.few_shot.by',
  ],
  [
    'an example template with other names',
    { messages: user('{q}'), fewShot: { examples: [examples[0]!], template: '{z}' } },
    'draft.few_shot.template',
  ],
  [
    'examples without a place',
    { messages: [{ role: 'system', template: '{q}' }], fewShot: { examples: [examples[0]!] } },
    'has no place',
  ],
  [
    'a variable named as examples are',
    { messages: user('{q}{output}'), fewShot: { examples: [examples[0]!] } },
    "'output' is the name",
  ],
  [
    'a test that lacks a value',
    { messages: user('{q}'), tests: [{ expected: 'a' }] },
    'draft.tests[0].variables.q: is required',
  ],
  [
    'a bound of a text',
    { messages: user('{q}'), variables: [{ name: 'q', minimum: 1 }] },
    'for numbers only',
  ],
  [
    'an example value that does not fit',
    {
      messages: user('{q}'),
      variables: [
        {
          name: 'q',
          type: VariableType.NUMBER,
          maximum: 3,
          examples: [{ kind: { case: 'numberValue', value: 4 } }],
        },
      ],
    },
    'draft.variables[0].examples[0]: must be at most 3',
  ],
  [
    'a costly pattern',
    { messages: user('{q}'), variables: [{ name: 'q', pattern: '(a+)+b' }] },
    'draft.variables[0].pattern',
  ],
])('%s is no draft', (_name, init, message) => {
  expect(() => draft(init)).toThrow(
    expect.objectContaining({ code: status.INVALID_ARGUMENT, message: expect.stringContaining(message) }),
  );
});

test.each([
  ['https://example.com/a.png', true],
  ['data:image/png;base64,iVBORw0KGgo=', true],
  [`sha256:${'0'.repeat(64)}`, true],
  ['http://example.com/a.png', false],
  ['https://user:secret@example.com/a.png', false],
  ['file:///etc/passwd', false],
  ['javascript:alert(1)', false],
  ['data:image/svg+xml;base64,PHN2Zz4=', false],
  ['data:image/png;base64,@@', false],
  ['https://example.com/a b.png', false],
])('the picture %s', (reference, taken) => {
  const one = draft({ messages: user('{p}'), variables: [{ name: 'p', type: VariableType.IMAGE }] });
  const rendering = expect(() => renderDraft(one, { p: reference }, 1000));
  if (taken) rendering.not.toThrow();
  else rendering.toThrow(expect.objectContaining({ code: status.INVALID_ARGUMENT }));
});
