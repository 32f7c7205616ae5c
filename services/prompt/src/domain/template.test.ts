import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Budget } from './budget.ts';
import { simpleTemplate } from './simple-template.ts';

const fill = (template: string, values: Record<string, string>, parts: Record<string, string> = {}) => {
  const budget = new Budget(100_000);
  const include = (reference: string) => budget.emit(parts[reference]!);
  simpleTemplate(template, 'template').fill({ budget, values: new Map(Object.entries(values)), include });
  return budget.take().text;
};

test.each([
  ['问题:{question}', { question: '高血压?' }, '问题:高血压?'],
  ['{a}{b}{a}', { a: '1', b: '2' }, '121'],
  ['{{a}} is {a}', { a: 'x' }, '{a} is x'],
  [
    '{"label": "{label}", "nested": {"a": [1, {}]}}',
    { label: '正面' },
    '{"label": "正面", "nested": {"a": [1, {}]}}',
  ],
  ['{ a } {1} {} {a.b} {a-b} {x.__class__}', {}, '{ a } {1} {} {a.b} {a-b} {x.__class__}'],
  ['{{constructor.constructor("return process")()}}', {}, '{{constructor.constructor("return process")()}}'],
  ['{a', {}, '{a'],
  ['{> tone@live}|{{> tone@live}}|{>tone/1.0.0}', {}, 'kind|{> tone@live}|first'],
])('%s', (template, values, expected) => {
  const parts = { 'tone@live': 'kind', 'tone/1.0.0': 'first' };
  expect(fill(template, values as Record<string, string>, parts)).toBe(expected);
});

test('each variable and each part is named once, in order', () => {
  const { variables, parts } = simpleTemplate('{b} {a} {> p@x} {b} {{c}} {> p@x} {> o/1.0.0}', 'template');
  expect([variables, parts]).toEqual([
    ['b', 'a'],
    ['p@x', 'o/1.0.0'],
  ]);
  expect(() => simpleTemplate('{> P@x} {> p@X}', 'draft.messages[0].template')).toThrow(
    'draft.messages[0].template: {> p@X} names no prompt',
  );
});

test('a value is never read as a template, whatever it holds', () => {
  const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  process.stdout.write(`templates: LANDFALL_TEST_SEED=${seed}\n`);
  const property = fc.property(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('{a}', '{{a}}', '$&', '{% x %}', '{> p@x}'),
    (text, trap) => {
      expect(fill('<{a}|{b}>', { a: text + trap, b: trap })).toBe(`<${text}${trap}|${trap}>`);
    },
  );
  fc.assert(property, { seed });
});
