import { status } from '@grpc/grpc-js';
import { Template as Reference } from '@huggingface/jinja';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Budget } from '../budget.ts';
import { type Filling, Picture } from '../template.ts';
import { jinjaTemplate } from './template.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`jinja: LANDFALL_TEST_SEED=${seed}\n`);

const fill = (template: string, values: Record<string, Filling> = {}, maxLength = 100_000) => {
  const budget = new Budget(maxLength);
  const run = {
    budget,
    values: new Map(Object.entries(values)),
    include: (name: string) => budget.emit(`[${name}]`),
  };
  jinjaTemplate(template, 'template').fill(run);
  return budget.take();
};
const values = { name: 'Li', list: ['b', 'a', 'b'], n: 7, yes: true, text: 'Hello World' };

// What the reference implementation makes of the same template, where it knows it.
test.each([
  'Hello {{ name }}!',
  '{% if yes %}A{% elif n > 3 %}B{% else %}C{% endif %}',
  '{% if not yes %}A{% elif n > 3 and n < 9 %}B{% else %}C{% endif %}',
  '{% for x in list %}{{ loop.index }}/{{ loop.length }} {{ x }}{% if not loop.last %}, {% endif %}{% endfor %}',
  '{% for x in list if x != "a" %}{{ x }}{{ loop.index0 }}{% else %}none{% endfor %}',
  '{% for x in [] %}{{ x }}{% else %}none{% endfor %}',
  '{% for a, b in [[1, 2], [3, 4]] %}{{ a + b }};{% endfor %}',
  '{% for i in range(2, 9, 3) %}{{ i }} {% endfor %}{% for i in range(3) %}{{ i }}{% endfor %}',
  '{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}',
  '{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{{ x }}{% endfor %}{{ x }}',
  '{% set x %}a{{ name }}{% endset %}{{ x | upper }}',
  '{{ text | lower }} {{ text | upper }} {{ " x " | trim }} {{ "ab" | capitalize }} {{ list | length }} {{ list | join("-") }}',
  '{{ text | replace("o", "0") }} {{ list | first }} {{ list | last }} {{ list | sort | join("") }} {{ list | unique | join("") }}',
  '{{ {"a": [1, "x"], "b": {"c": true}} | tojson }}',
  '{{ {"a": [1, "x"]} | tojson(indent=2) }}',
  '{{ (1 + 2) * 3 - 4 }} {{ 7 // 2 }} {{ 7 % 4 }} {{ 2 ** 5 }} {{ "a" ~ 1 ~ "b" }} {{ -n }}',
  '{{ "a" in list }} {{ "z" not in list }} {{ "ell" in "hello" }} {{ n is odd }} {{ name is string }} {{ name is not none }}',
  '{{ "yes" if n > 5 else "no" }} {{ missing | default("d") }} {{ "" | default("e", true) }}',
  '{{ list[0] }} {{ list[-1] }} {{ list[1:] | join("") }} {{ text[:5] }} {{ {"k": "v"}.k }} {{ {"k": "v"}["k"] }}',
  '{{ "a\\nb" | indent(2) }}|{{ "a\\nb" | indent(2, true) }}',
  'a  {%- if yes -%}  b  {%- endif -%}  c',
  '{# a comment #}x{{ "{{" }}{ "json": [1, {}] }',
  '{% filter upper %}a{{ name }}{% endfilter %}',
  '{{ 1 == 1.0 }} {{ n >= 7 or missing }}',
])('%s', (template) => {
  const expected = new Reference(template).render(values);
  const made = fill(template, values).text;
  // Here booleans are written as JSON and the simple form write them.
  expect(made).toBe(expected.replace(/\bTrue\b/g, 'true').replace(/\bFalse\b/g, 'false'));
});

test('lists and maps are equal by what they hold', () => {
  expect(
    fill('{{ list == ["b"] }}{{ list == ["c"] }}{{ {"a": [1]} == {"a": [1]} }}', { list: ['b'] }).text,
  ).toBe('truefalsetrue');
});

test('lists are put in one a line, what is not there is empty, and every line end stays', () => {
  expect(
    fill('{{ list }}\n{{ missing }}.{{ list.x }}{{ name.x }}\n', { list: ['a', 'b'], name: 'n' }).text,
  ).toBe('a\nb\n.\n');
});

test('names that are used are told, names that are set are not', () => {
  const template = jinjaTemplate(
    '{{ b }}{% set s = a %}{{ s }}{% for x in xs %}{{ x }}{{ loop.index }}{{ c }}{% endfor %}{{ x }}{% include "p@live" %}{% include "o/1.0.0" %}',
    'template',
  );
  expect(template.variables).toEqual(['b', 'a', 'xs', 'c', 'x']);
  expect(template.parts).toEqual(['p@live', 'o/1.0.0']);
  expect(fill('a{% include "p@live" %}b').text).toBe('a[p@live]b');
});

test('pictures are put in and nothing else', () => {
  const photo = new Picture('photo', 'sha256:00');
  const made = fill('a {% if photo %}{{ photo }}{% endif %} b', { photo });
  expect(made).toEqual({
    text: 'a <image> b',
    images: [{ variable: 'photo', reference: 'sha256:00', offset: 2 }],
  });
  for (const template of [
    '{{ photo | upper }}',
    '{{ photo ~ "" }}',
    '{% set x %}{{ photo }}{% endset %}',
    '{{ [photo] | tojson }}',
  ])
    expect(() => fill(template, { photo })).toThrow('picture');
});

const refused = (template: string) => {
  try {
    fill(template, values);
  } catch (error) {
    return error as { code: status; message: string };
  }
  throw new Error(`${template} was taken`);
};

test.each([
  ['{{ constructor.constructor("return process")() }}', "this can't be called"],
  ['{{constructor.constructor("return process")()}}', "this can't be called"],
  ['{{ name.__class__ }}', "'.__class__' leads nowhere"],
  ['{{ name["__proto__"] }}', "'__proto__' leads nowhere"],
  ['{{ name.constructor }}', "'.constructor' leads nowhere"],
  ['{{ __import__("os") }}', "__import__() can't be called"],
  ['{{ name.upper() }}', "can't be called"],
  ['{{ range.constructor }}', 'leads nowhere'],
  ['{{ name | attr("x") }}', "'attr' is no filter"],
  ['{{ name is callable }}', 'is no test'],
  ['{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}', 'macros are not taken'],
  ['{% include name %}', 'takes one text'],
  ['{{ include("Bad@x") }}', 'include names another prompt'],
  ['{% import "os" %}', 'Unknown statement type: import'],
  ['{% if yes %}', 'ends in the middle'],
  ['{{ name', 'no Jinja template'],
  ['{% for x in list %}', 'ends in the middle'],
  ['{% break %}', 'stands in no loop'],
  [`{{ ${'('.repeat(20_000)}1${')'.repeat(20_000)} }}`, 'nested too deep'],
  [`{{ 1${' + 1'.repeat(5_000)} }}`, 'nested more than 100 deep'],
  [`a${' '.repeat(200_000)}b`, 'white space'],
  ['{{ name + 1 }}', '+ needs two numbers'],
  ['{{ 1 / 0 }}', 'division by zero'],
  ['{{ 10 ** 400 }}', 'no finite result'],
  ['{{ [1, "a"] | sort }}', 'have no order'],
  ['{% for a, b in list %}{% endfor %}', 'need a list of 2'],
])('template %# is refused by name', (template, message) => {
  expect(refused(template)).toMatchObject({
    code: status.INVALID_ARGUMENT,
    message: expect.stringContaining(message),
  });
});

const nested = (depth: number, body: string) =>
  '{% for i in range(1000) %}'.repeat(depth) + body + '{% endfor %}'.repeat(depth);

test.each([
  ['{% for i in range(1000000000) %}{% endfor %}'],
  ['{{ range(1e9 | int) | length }}'.replace('1e9', '"1e9"')],
  [nested(3, '')],
  [nested(4, '{% set x = i %}')],
  ['{{ "a" * 1000000000 }}'],
  ['{{ "ab" * 10 ** 15 }}'],
  [`{% set s = "ab" %}${'{% set s = s ~ s %}'.repeat(40)}{{ s }}`],
  [`{% set s = [1, 2] %}${'{% set s = s + s %}'.repeat(40)}{{ s }}`],
  [`{% set s = "a" * 100000 %}{{ s | replace("a", s) }}`],
  [`{% set s = "a" * 100000 %}{% for i in range(1000) %}{% if s in s ~ "b" %}{% endif %}{% endfor %}`],
  [`{% set s = "a" * 100000 %}{% for c in s %}{% for d in s %}{% endfor %}{% endfor %}`],
  [`{% set s = "a\\n" * 10000 %}${'{% set s = s | indent(100, true) %}'.repeat(20)}`],
  [`{% set s = [[]] %}${'{% set s = [s, s] %}'.repeat(25)}{{ s | tojson }}`],
  [`{% set l = range(100000) %}{% for i in range(100000) %}{% if i in l %}{% endif %}{% endfor %}`],
  [`{% set s = "x" * 50000 %}{{ ([s] * 1) if false else (range(90000) | join(s)) }}`],
])('costly template %# ends within its budget', (template) => {
  expect(refused(template)).toMatchObject({ code: status.RESOURCE_EXHAUSTED });
});

test('a text beyond the largest prompt is refused while it is made', () => {
  expect(() => fill('{% for i in range(1000) %}0123456789{% endfor %}', {}, 500)).toThrow(
    'more than 500 characters',
  );
});

test('a value is never read as a template', () => {
  const trap = fc.constantFrom(
    '{{ 7 * 7 }}',
    '{% for i in range(9) %}',
    '{# x #}',
    '}}',
    '{% include "p@x" %}',
  );
  const property = fc.property(fc.string({ unit: 'grapheme' }), trap, (text, tail) => {
    const value = text + tail;
    expect(fill('<{{ a }}|{{ b | join("") }}|{{ a ~ "" }}>', { a: value, b: [value] }).text).toBe(
      `<${value}|${value}|${value}>`,
    );
  });
  fc.assert(property, { seed });
});

const piece = fc.constantFrom(
  ...[
    '{{ ',
    ' }}',
    '{% ',
    ' %}',
    'if ',
    'for x in ',
    'endif',
    'endfor',
    'else',
    'set x = ',
    'name',
    'list',
    'loop',
    '.',
    '|',
    'upper',
  ],
  ...[
    '"',
    "'",
    '(',
    ')',
    '[',
    ']',
    '{',
    '}',
    ',',
    ':',
    '+',
    '~',
    '*',
    '**',
    '==',
    ' in ',
    ' is ',
    'not ',
    '1',
    '999999',
    '\\u00',
    'a',
    '\n',
  ],
);

test('whatever is written is rendered, refused or too costly, and nothing else', () => {
  const property = fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
    try {
      fill(pieces.join(''), values);
    } catch (error) {
      expect([status.INVALID_ARGUMENT, status.RESOURCE_EXHAUSTED]).toContain(
        (error as { code: status }).code,
      );
    }
  });
  fc.assert(property, { seed, numRuns: 3_000 });
});
