import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fillTemplate, templateVariables } from './template.ts';

const fill = (template: string, values: Record<string, string>) =>
  fillTemplate(template, new Map(Object.entries(values)));

test.each([
  ['问题:{question}', { question: '高血压?' }, '问题:高血压?'],
  ['{a}{b}{a}', { a: '1', b: '2' }, '121'],
  ['{{a}} is {a}', { a: 'x' }, '{a} is x'],
  [
    '{"label": "{label}", "nested": {"a": [1, {}]}}',
    { label: '正面' },
    '{"label": "正面", "nested": {"a": [1, {}]}}',
  ],
  ['{ a } {1} {} {a.b} {a-b}', {}, '{ a } {1} {} {a.b} {a-b}'],
  ['{a', {}, '{a'],
])('%s', (template, values, expected) => {
  expect(fill(template, values as Record<string, string>)).toBe(expected);
});

test('each variable is named once, in order', () => {
  expect(templateVariables('{b} {a} {b} {{c}}')).toEqual(['b', 'a']);
});

test('a value is never read as a template, whatever it holds', () => {
  const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  process.stdout.write(`templates: LANDFALL_TEST_SEED=${seed}\n`);
  const property = fc.property(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('{a}', '{{a}}', '$&', '{% x %}'),
    (text, trap) => {
      expect(fill('<{a}|{b}>', { a: text + trap, b: trap })).toBe(`<${text}${trap}|${trap}>`);
    },
  );
  fc.assert(property, { seed });
});
