import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { PromptTask, TemplateFormat, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { expect, test } from 'vitest';
import { checkDraft } from '../domain/draft.ts';
import { libraryEntry } from '../files/library.ts';
import { lint } from './lint.ts';

type Init = MessageInitShape<typeof PromptDraftSchema>;
const linted = (init: Init, task = PromptTask.UNSPECIFIED) =>
  lint(checkDraft(create(PromptDraftSchema, init)), task);
const checks = (init: Init, task?: PromptTask) => linted(init, task).findings.map(({ check }) => check);
const user = (template: string) => [{ role: 'user', template }];

type Draft = NonNullable<ReturnType<typeof libraryEntry>['draft']>;

/** A ready prompt with something else in a place. */
function altered(name: string, alter: (draft: Draft) => Partial<Draft>): Init {
  const draft = structuredClone(libraryEntry(name).draft!);
  return { ...draft, ...alter(draft) };
}

/** A ready prompt whose first turn says something else. */
const said = (name: string, change: (text: string) => string): Init =>
  altered(name, ({ messages: [first, ...rest] }) => ({
    messages: [{ ...first!, template: change(first!.template) }, ...rest],
  }));

test('a bare prompt lacks all four principles, each with text made from it', () => {
  const { findings, task } = linted({
    messages: user(
      '请判断这条评论的类别,尽量准确,判断时要考虑评论的语气、内容和上下文,不要只看关键词,评论是{comment}请回答。另外请把每一条评论都读完再判断,不要跳过任何一句话,谢谢你的帮助。',
    ),
    variables: [{ name: 'comment', required: true }],
  });
  expect(task).toBe(PromptTask.CLASSIFICATION);
  expect(findings.map(({ principle, check }) => `${principle}/${check}`)).toEqual([
    'specific/contract',
    'specific/vague',
    'specific/description',
    'structured/sections',
    'structured/delimited',
    'demonstrated/examples',
    'demonstrated/filled',
    'iterated/change_log',
    'iterated/tests',
  ]);
  const of = (check: string) => findings.find((one) => one.check === check)!;
  expect(of('vague').message).toContain('“尽量”');
  expect(of('sections').proposal).toContain('## 输入\ncomment:\n{comment}');
  expect(of('delimited').proposal).toBe('<comment>\n{comment}\n</comment>');
  expect(of('description').field).toBe('variables[0].description');
});

test('proposals are in the language and the form of the draft', () => {
  const { findings } = linted({
    format: TemplateFormat.JINJA,
    text: 'Classify the ticket, and explain appropriately. It is {{ ticket }} and comes from a customer who waits for an answer.',
    variables: [{ name: 'ticket', required: true, description: 'What the customer wrote' }],
    outputContract: { kind: { case: 'oneOf', value: { options: ['bug', 'question'] } } },
  });
  const of = (check: string) => findings.find((one) => one.check === check)!;
  expect(of('labels').proposal).toBe('- bug: 〈when it applies〉\n- question: 〈when it applies〉');
  expect(of('sections').proposal).toContain('What the customer wrote:\n{{ ticket }}');
  expect(of('examples').proposal).toBe(
    '- variables: {ticket: "〈What the customer wrote〉"}\n  output: "bug"',
  );
  expect(findings.map(({ message }) => message).join('')).not.toMatch(/\p{Script=Han}/u);
});

test.each<[string, Init, string]>([
  [
    'a label without criterion',
    said('classification-zh', (text) => text.replace('质量：', '质量\n')),
    'criteria',
  ],
  [
    'a label that is not said',
    said('classification-en', (text) => text.replaceAll('quality', 'x')),
    'labels',
  ],
  [
    'a label without example',
    altered('classification-en', ({ fewShot }) => ({
      fewShot: { ...fewShot!, examples: fewShot!.examples.slice(1) },
    })),
    'label_examples',
  ],
  [
    'an example out of the contract',
    altered('classification-en', ({ fewShot }) => ({
      fewShot: {
        ...fewShot!,
        examples: [...fewShot!.examples, { ...fewShot!.examples[0]!, output: 'refund.' }],
      },
    })),
    'examples_fit',
  ],
  [
    'a test out of the contract',
    altered('classification-en', ({ tests }) => ({
      tests: tests.map((row, i) => (i === 1 ? { ...row, expected: 'no' } : row)),
    })),
    'tests_fit',
  ],
  [
    'a field that is not explained',
    said('extraction-zh', (text) => text.replace(/- doctor.*\n/, '')),
    'fields',
  ],
  [
    'nothing for what is missing',
    said('extraction-en', (text) => text.replace(/Write null.*\n/, '')),
    'missing',
  ],
  ['no audience', said('generation-zh', (text) => text.replaceAll('读者', '他们')), 'audience'],
  ['no length', said('generation-en', (text) => text.replace('at most {words} words', '{words}')), 'length'],
  ['no steps', said('chain-of-thought-en', (text) => text.replace(/steps?/gi, 'way')), 'steps'],
  ['no answer line', said('chain-of-thought-zh', (text) => text.replaceAll('答案', '结果')), 'answer'],
  [
    'a report without a line',
    said('inspection-report-zh', (text) => text.replace(/- 严重程度.*\n/, '')),
    'report',
  ],
  ['an unused variable', said('generation-en', (text) => text.replace('{style}', 'warm')), 'unused'],
  ['few tests', altered('extraction-zh', ({ tests }) => ({ tests: tests.slice(2) })), 'tests'],
  ['no change log', altered('extraction-zh', () => ({ changeLog: ' ' })), 'change_log'],
  [
    'a variable without example',
    altered('extraction-zh', ({ variables }) => ({
      variables: variables.map((one) => ({ ...one, examples: [] })),
    })),
    'filled',
  ],
])('%s is found, and nothing else', (_name, init, check) => {
  expect([...new Set(checks(init, libraryTask(init)))]).toEqual([check]);
});

function libraryTask({ outputContract, messages }: Init): PromptTask {
  const kind = outputContract?.kind?.case;
  if (kind === 'oneOf') return PromptTask.CLASSIFICATION;
  if (kind === 'jsonSchema') return PromptTask.EXTRACTION;
  if (messages!.some(({ template }) => template!.includes('{image}'))) return PromptTask.INSPECTION;
  return kind ? PromptTask.CHAIN_OF_THOUGHT : PromptTask.GENERATION;
}

test('a prompt that is asked to be for another task is held to that', () => {
  const found = linted({ text: '{q}', variables: [{ name: 'q', description: 'x' }] }, PromptTask.INSPECTION);
  expect(found.task).toBe(PromptTask.INSPECTION);
  expect(found.findings.map(({ check }) => check)).toEqual(
    expect.arrayContaining(['image', 'contract', 'report']),
  );
  const image = { text: '{p}', variables: [{ name: 'p', type: VariableType.IMAGE }] };
  expect(linted(image).task).toBe(PromptTask.INSPECTION);
});

test('a text of nothing but openings costs no time', () => {
  const text = `${'{ '.repeat(50_000)}${'a,'.repeat(50_000)}`;
  expect(checks({ text, variables: [{ name: 'q' }] })).toContain('unused');
});
