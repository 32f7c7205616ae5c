import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { randomOf } from '@landfall/metrics/random.ts';
import { TestSetRowSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { TemplateFormat } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { type PromptDraft, PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { expect, test } from 'vitest';
import { checkDraft } from '../../domain/draft.ts';
import { render } from '../../domain/render.ts';
import { escapeTemplate, partsOf } from '../parts.ts';
import { viewRows } from '../task.ts';
import { examples } from './examples.ts';
import { format } from './format.ts';
import { cleanInstruction, instructions } from './instruction.ts';
import type { Move, Proposal, Setting } from './move.ts';
import { structure } from './structure.ts';

const draftOf = (draft: MessageInitShape<typeof PromptDraftSchema>) =>
  checkDraft(create(PromptDraftSchema, draft));
const rowsOf = (pairs: readonly (readonly [string, string])[]) =>
  pairs.map(([text, expected]) => create(TestSetRowSchema, { variables: { text }, expected: [expected] }));
const labelled = rowsOf([
  ['好', '正面'],
  ['坏', '负面'],
  ['妙', '正面'],
  ['糟', '负面'],
  ['佳', '正面'],
  ['差', '负面'],
]);

function settingOf(parent: PromptDraft, rows = labelled): Setting {
  const view = viewRows(rows, partsOf(parent).instruction);
  return { parent, view, examples: rows, misses: [], random: randomOf(5n, 'moves'), round: 1 };
}

async function all(move: Move, setting: Setting, most = 40): Promise<Proposal[]> {
  const found: Proposal[] = [];
  for await (const one of move(setting)) if (found.push(one) >= most) break;
  return found;
}

const hostile = ['{text}', '{{text}}', '{ text }', '{}', '{text', 'a{other}b', '{> part@label}', '{{{x}}}'];

test('an escaped text is the same text, whatever braces it has', () => {
  for (const text of hostile.filter((one) => !one.includes('{>'))) {
    const draft = draftOf({ messages: [{ role: 'user', template: escapeTemplate(text) }] });
    const shown = render(draft, {}, 1000)[0]!.content;
    expect(shown.replace(/[{}]/g, ''), text).toBe(text.replace(/[{}]/g, ''));
    expect(draft.variables, text).toEqual([]);
  }
});

test('a template is taken apart into its instruction and its input', () => {
  const parts = (template: string) => partsOf(draftOf({ messages: [{ role: 'user', template }] }));
  expect(parts('{text}。你怎么看?')).toEqual({
    instruction: '你怎么看?',
    variables: ['text'],
    input: '{text}',
  });
  expect(parts('把{text}翻译成{language}:')).toEqual({
    instruction: '把\n翻译成',
    variables: ['text', 'language'],
    input: 'text: {text}\nlanguage: {language}',
  });
  expect(parts('{text}').instruction).toBe('');
  expect(parts('like {"a": 1} or {{b}}: {c}')).toMatchObject({
    instruction: 'like {"a": 1} or {{b}}',
    variables: ['c'],
  });
});

test('every structure keeps every variable, and its values stand in it as they are', async () => {
  const parent = draftOf({
    messages: [
      { role: 'system', template: '你是{role}。' },
      { role: 'user', template: '{text}({kind})怎么样?' },
    ],
  });
  const proposals = await all(structure, settingOf(parent));
  expect(proposals.length).toBeGreaterThan(8);
  for (const { draft } of proposals) {
    const value = hostile.join('');
    const rendered = render(checkDraft(draft), { role: '编辑', text: value, kind: '书' }, 10_000);
    const user = rendered.findLast(({ role }) => role === 'user')!.content;
    expect(user).toContain(value);
    expect(user).toContain('书');
    expect(rendered.map(({ content }) => content).join()).toContain('编辑');
  }
  expect(proposals.some(({ draft }) => draft.messages.at(-1)!.template.includes('正面还是负面'))).toBe(true);
  const library = proposals.find(({ reason }) => reason.includes('the library’s classification'))!.draft
    .messages;
  expect(library.map(({ role }) => role)).toEqual(['system', 'user']);
  expect(library[0]!.template).toMatch(/^你是\{role\}。\n\n## 任务\n[\s\S]*## 类别\n- 正面\n- 负面$/);
  const jinja = { ...parent, format: TemplateFormat.JINJA };
  expect(await all(structure, settingOf(jinja))).toEqual([]);
});

test('the form of the answers is found in them: labels, numbers, objects, lengths', async () => {
  const parent = draftOf({ messages: [{ role: 'user', template: '{text}' }] });
  const contracts = async (rows: typeof labelled) =>
    (await all(format, settingOf(parent, rows))).map(({ draft }) => draft.outputContract?.kind);
  expect((await contracts(labelled))[0]).toMatchObject({
    case: 'oneOf',
    value: { options: ['正面', '负面'] },
  });
  expect(
    (
      await contracts(
        rowsOf([
          ['1+1', '2'],
          ['2+3', '5'],
        ]),
      )
    )[0],
  ).toMatchObject({ case: 'regex' });
  const objects = rowsOf([
    ['a', '{"name": "Li", "age": 3}'],
    ['b', '{"name": "Wang", "age": 4, "city": null}'],
  ]);
  const json = (await contracts(objects))[0]!;
  expect(JSON.parse(json.value as string)).toEqual({
    type: 'object',
    properties: { name: { type: 'string' }, age: { type: 'number' }, city: { type: 'null' } },
    required: ['name', 'age'],
    additionalProperties: false,
  });
  const texts = await all(
    format,
    settingOf(
      parent,
      rowsOf([
        ['a', 'first answer'],
        ['b', 'another one here'],
      ]),
    ),
  );
  expect(texts.map(({ draft }) => draft.messages[0]!.template)).toEqual([
    'Answer in at most 20 characters.\n{text}',
  ]);
});

test('examples come from their pool alone, the labels in turn, and end', async () => {
  const parent = draftOf({ messages: [{ role: 'user', template: '{text}' }] });
  const proposals = await all(examples, settingOf(parent), 1000);
  expect(proposals.length).toBeLessThan(1000);
  const pool = new Map(labelled.map(({ variables, expected }) => [variables!.text, expected[0]]));
  for (const { draft } of proposals) {
    const shown = draft.fewShot!.examples;
    for (const { variables, output } of shown) expect(pool.get(variables!.text)).toBe(output);
    expect(new Set(shown.map(({ variables }) => variables!.text)).size).toBe(shown.length);
    const good = shown.filter(({ output }) => output === '正面').length;
    if (draft.fewShot!.count === 0) expect(Math.abs(2 * good - shown.length)).toBeLessThanOrEqual(1);
  }
});

test('a model writes the instruction, whose braces stay text; without a use it is asked no more', async () => {
  const parent = draftOf({ messages: [{ role: 'user', template: '看看:{text}' }] });
  const questions: string[] = [];
  const reply = async (_about: string, question: string) => {
    questions.push(question);
    return `指令:“判断{text}和{other}的情感。”`;
  };
  const misses = [{ test: labelled[0]!, output: '不知道' }];
  const proposals = await all(instructions(reply), { ...settingOf(parent), misses });
  const [first] = proposals;
  expect(first!.draft.messages[0]!.template).toBe('判断{{text}}和{{other}}的情感。\n{text}');
  expect(render(checkDraft(first!.draft), { text: '甲' }, 1000)[0]!.content).toBe(
    '判断{text}和{other}的情感。\n甲',
  );
  expect(questions[0]).toContain('输出:');
  expect(questions[1]).toContain('得到:不知道\n应为:正面');
  expect(questions.length).toBeLessThan(20);
  expect(
    await all(
      instructions(async () => undefined),
      settingOf(parent),
    ),
  ).toEqual([]);
  expect(
    await all(
      instructions(async () => '看看'),
      settingOf(parent),
    ),
  ).toEqual([]);
  expect(cleanInstruction('```text\nSay it.\n```')).toBe('Say it.');
});
