import { Ajv, type ValidateFunction } from 'ajv';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accepting, vocabularyOf, walk } from '../../../test/grammar-walk.ts';
import { random } from '../../../test/tiny-model.ts';
import { compileConstraint } from './compile.ts';
import { ConstraintError } from './constraint.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 1e6);
console.log(`LANDFALL_TEST_SEED=${seed}`);

const TOKENS = [
  '{"',
  '":',
  '": ',
  ', "',
  '"}',
  '"]',
  '[{',
  '}]',
  'true',
  'null',
  '12',
  '0.',
  'name',
  '高血压',
  '\\u',
  '\\"',
];

const jsonSchema = (schema: unknown) => ({ kind: 'jsonSchema' as const, schema: JSON.stringify(schema) });
const validator = (schema: unknown): ValidateFunction =>
  new Ajv({ strict: false, validateFormats: false }).compile(schema as object);

const count = fc.integer({ min: 0, max: 4 });
const name = fc.constantFrom('name', 'age', '高', 'a b', 'q"uote', 'new\nline', 'ab', 'abc');

/** A schema and a value that it validates, properties in the schema's order. */
interface Sample {
  schema: Record<string, unknown>;
  value: unknown;
}

const leaf: fc.Arbitrary<Sample> = fc.oneof(
  fc.constant({ schema: { type: 'null' }, value: null }),
  fc.boolean().map((value) => ({ schema: { type: 'boolean' }, value })),
  fc.integer().map((value) => ({ schema: { type: 'integer' }, value })),
  fc.tuple(fc.integer({ min: -2000, max: 2000 }), count, count).map(([value, below, above]) => ({
    schema: { type: 'integer', minimum: value - below, exclusiveMaximum: value + above + 1 },
    value,
  })),
  fc.tuple(fc.integer({ min: -99_999, max: 99_999 }), count, count).map(([value, below, above]) => ({
    schema: { type: 'number', minimum: (value - below) / 100, maximum: (value + above) / 100 },
    value: value / 100,
  })),
  fc.double({ noNaN: true, min: -1e9, max: 1e9, noDefaultInfinity: true }).map((value) => ({
    schema: { type: 'number' },
    value: Number(value.toFixed(5)),
  })),
  fc.string({ unit: 'grapheme' }).map((value) => ({ schema: { type: 'string' }, value })),
  fc.tuple(fc.string({ unit: 'binary', maxLength: 6 }), count, count).map(([value, less, more]) => {
    const length = [...value].length;
    return {
      schema: { type: 'string', minLength: Math.max(0, length - less), maxLength: length + more },
      value,
    };
  }),
  fc
    .constantFrom('a1', 'b22', '高9')
    .map((value) => ({ schema: { type: 'string', pattern: '^\\w?.\\d+$' }, value })),
  fc.constantFrom('x"a', 'a\n', 'aa').map((value) => ({ schema: { type: 'string', pattern: 'a' }, value })),
  // The validator that judges here calls these three of a value, even where they are names in JSON.
  fc
    .jsonValue({ maxDepth: 2 })
    .filter((value) => !/"(valueOf|toString|constructor)"/.test(JSON.stringify(value)))
    .map((value) => ({ schema: { const: value }, value })),
  fc.uniqueArray(fc.constantFrom('a', 1, null, true, 'é'), { minLength: 1 }).map((values) => ({
    schema: { enum: values },
    value: values[0],
  })),
);

const sample: fc.Arbitrary<Sample> = fc.letrec<{ any: Sample }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    leaf,
    fc
      .tuple(
        fc.uniqueArray(fc.tuple(name, tie('any'), fc.constantFrom('required', 'there', 'missing')), {
          maxLength: 4,
          selector: ([n]) => n,
        }),
        fc.option(tie('any'), { nil: undefined }),
      )
      .map(([parts, other]) => objectSample(parts, other)),
    fc.tuple(tie('any'), count, count).map(([item, min, more]) => ({
      schema: {
        type: 'array',
        items: item.schema,
        minItems: min,
        ...(more > 0 ? { maxItems: min + more } : {}),
      },
      value: new Array(min).fill(item.value),
    })),
    fc.array(tie('any'), { minLength: 1, maxLength: 3 }).map((options) => ({
      schema: { anyOf: options.map((o) => o.schema) },
      value: options[0]!.value,
    })),
  ),
})).any;

function objectSample(parts: [string, Sample, string][], other: Sample | undefined): Sample {
  const present = parts.filter(([, , kind]) => kind !== 'missing');
  const entries = present.map(([n, part]): [string, unknown] => [n, part.value]);
  if (other) entries.push(['other', other.value]);
  return {
    schema: {
      type: 'object',
      properties: Object.fromEntries(parts.map(([n, part]) => [n, part.schema])),
      required: parts.filter(([, , kind]) => kind === 'required').map(([n]) => n),
      additionalProperties: other?.schema ?? false,
    },
    value: Object.fromEntries(entries),
  };
}

/** As JSON.stringify, with a space behind commas and colons. */
function spaced(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(spaced).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  return `{${Object.entries(value)
    .map(([k, v]) => `${JSON.stringify(k)}: ${spaced(v)}`)
    .join(', ')}}`;
}

describe('a JSON schema', () => {
  test('accepts the values that it validates, and every walk through it ends in one', () => {
    const next = random(seed);
    const vocabulary = vocabularyOf(TOKENS);
    let walked = 0;
    fc.assert(
      fc.property(sample, ({ schema, value }) => {
        const accepts = accepting(jsonSchema(schema));
        expect(accepts(JSON.stringify(value)), `${JSON.stringify(schema)} on ${JSON.stringify(value)}`).toBe(
          true,
        );
        expect(accepts(spaced(value))).toBe(true);
        const text = walk(jsonSchema(schema), vocabulary, next);
        if (text === undefined) return;
        walked++;
        const validate = validator(schema);
        expect(validate(JSON.parse(text)), `${JSON.stringify(schema)} gave ${text}`).toBe(true);
      }),
      { seed, numRuns: 150 },
    );
    expect(walked).toBeGreaterThan(100);
  });

  test('numbers between bounds are those that lie there', () => {
    const bound = fc.tuple(fc.integer({ min: -30_000, max: 30_000 }), fc.constantFrom(1, 10, 100, 1000));
    fc.assert(
      fc.property(bound, bound, fc.boolean(), fc.boolean(), fc.boolean(), (a, b, above, below, integer) => {
        const [min, max] = [a[0] / a[1], b[0] / b[1]].sort((x, y) => x - y) as [number, number];
        const schema = {
          type: integer ? 'integer' : 'number',
          [above ? 'exclusiveMinimum' : 'minimum']: min,
          [below ? 'exclusiveMaximum' : 'maximum']: max,
        };
        const validate = validator(schema);
        let accepts: (text: string) => boolean = () => false;
        try {
          accepts = accepting(jsonSchema(schema));
        } catch (error) {
          expect(error).toMatchObject({ message: 'no text fulfils it' });
        }
        for (const near of [min, max, (min + max) / 2, 0]) {
          for (const step of [0, 1, -1, 0.1, -0.1, 0.001, -0.001, 10, -10]) {
            const value = Number((near + step).toFixed(integer ? 0 : 4));
            if (Object.is(value, -0)) continue;
            const text = JSON.stringify(value);
            expect(accepts(text), `${JSON.stringify(schema)} on ${text}`).toBe(validate(value));
          }
        }
      }),
      { seed, numRuns: 60 },
    );
  });

  test('references, allOf, several types, prefixItems and formats are followed', () => {
    const schema = {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $defs: {
        id: { type: 'string', format: 'uuid' },
        named: { properties: { name: { type: 'string' } }, required: ['name'] },
      },
      type: 'object',
      allOf: [{ $ref: '#/$defs/named' }, { properties: { id: { $ref: '#/$defs/id' } }, required: ['id'] }],
      properties: {
        pair: {
          type: 'array',
          prefixItems: [{ type: 'integer' }, { type: ['string', 'null'] }],
          items: false,
        },
      },
      additionalProperties: { type: 'boolean' },
    };
    // A name that an allOf brings is still an additional property to the schema beside it.
    expect(() => compileConstraint(jsonSchema(schema))).toThrow('no text fulfils it');
    const { additionalProperties: _, ...open } = schema;
    const accepts = accepting(jsonSchema(open));
    const id = '123e4567-e89b-12d3-a456-426614174000';
    expect(accepts(JSON.stringify({ pair: [1, null], name: 'x', id }))).toBe(true);
    expect(accepts(JSON.stringify({ pair: [1, null, 2], name: 'x', id }))).toBe(false);
    expect(accepts(JSON.stringify({ name: 'x', id: 'no' }))).toBe(false);
    expect(accepts(JSON.stringify({ name: 'x' }))).toBe(false);
  });

  test('formats match what they name', () => {
    const good: Record<string, string> = {
      date: '2024-12-31',
      time: '23:59:59Z',
      'date-time': '2024-02-28T00:00:00.5+08:00',
      duration: 'P3DT2H',
      email: 'a.b@example.com',
      hostname: 'example.com',
      ipv4: '192.168.0.1',
      ipv6: '::1',
      uri: 'https://example.com/a?'.slice(0, -1),
      uuid: '123e4567-e89b-12d3-a456-426614174000',
    };
    for (const [format, text] of Object.entries(good)) {
      const accepts = accepting(jsonSchema({ type: 'string', format }));
      expect(accepts(JSON.stringify(text)), format).toBe(true);
      expect(accepts(JSON.stringify(`${text} `)), format).toBe(false);
    }
    expect(accepting(jsonSchema({ type: 'string', format: 'date' }))('"2024-02-30"')).toBe(false);
  });

  test('oneOf takes options that can be told apart', () => {
    const of = (kind: string) => ({
      type: 'object',
      properties: { kind: { const: kind } },
      required: ['kind'],
    });
    const accepts = accepting(jsonSchema({ oneOf: [of('a'), of('b'), { type: 'integer' }] }));
    expect(accepts('{"kind":"b"}')).toBe(true);
    expect(accepts('7')).toBe(true);
    const overlapping = { oneOf: [{ type: 'integer' }, { type: 'number', minimum: 3 }] };
    expect(() => compileConstraint(jsonSchema(overlapping))).toThrow('#/oneOf');
  });

  test('a property may have any name', () => {
    const schema = '{"properties":{"__proto__":{"type":"null"},"constructor":{}},"required":["__proto__"]}';
    const accepts = accepting({ kind: 'jsonSchema', schema });
    expect(accepts('{"__proto__":null}')).toBe(true);
    expect(accepts('{"__proto__":null,"constructor":[1]}')).toBe(true);
    expect(accepts('{}')).toBe(false);
  });

  test('any object is one, down to its depth', () => {
    const next = random(seed);
    for (let i = 0; i < 20; i++) {
      const text = walk({ kind: 'jsonObject' }, vocabularyOf(TOKENS), next, 60);
      if (text !== undefined) expect(JSON.parse(text)).toBeTypeOf('object');
    }
    const accepts = accepting({ kind: 'jsonObject' });
    expect(accepts(`${'{"a":'.repeat(6)}1${'}'.repeat(6)}`)).toBe(true);
    expect(accepts(`${'{"a":'.repeat(7)}1${'}'.repeat(7)}`)).toBe(false);
    expect(accepts('{"half a pair":"\\ud83d"}')).toBe(false);
    expect(accepts('{"a pair":"\\ud83d\\ude00\\u00e9"}')).toBe(true);
  });
});

const tree = (depth: number, join: (a: unknown, b: unknown) => unknown) => ({
  $defs: Object.fromEntries(
    Array.from({ length: depth + 1 }, (_, i) => {
      const next = { $ref: `#/$defs/d${i + 1}` };
      return [`d${i}`, i === depth ? { type: 'null' } : join(next, next)];
    }),
  ),
  $ref: '#/$defs/d0',
});
const flat = (length: number, each: (i: number) => unknown) => Array.from({ length }, (_, i) => each(i));

test.each<[string, unknown, string]>([
  ['recursion', { properties: { next: { $ref: '#' } } }, '#/properties/next/$ref'],
  [
    'recursion over definitions',
    { $defs: { a: { items: { $ref: '#/$defs/a' } } }, $ref: '#/$defs/a' },
    'recursive',
  ],
  ['a reference that leads nowhere', { $ref: '#/$defs/x' }, '#/$ref'],
  ['a reference to elsewhere', { $ref: 'http://127.0.0.1/x' }, '#/$ref'],
  ['an unknown keyword', { properties: { 'a/b': { uniqueItems: true } } }, '#/properties/a~1b/uniqueItems'],
  ['not', { not: {} }, '#/not'],
  ['a type of nothing', { type: 'text' }, '#/type'],
  ['a pattern that is none', { type: 'string', pattern: '(' }, '#/pattern'],
  ['an unknown format', { type: 'string', format: 'x' }, '#/format'],
  ['pattern and length', { type: 'string', pattern: 'a', maxLength: 3 }, 'not supported together'],
  ['a bound of 17 digits', { type: 'number', minimum: 0.30000000000000004 }, 'digits'],
  ['nothing', { type: 'integer', minimum: 3, maximum: 2 }, 'no text fulfils it'],
  ['no schema', 7, '#: is no schema'],
  ['a long string', { type: 'string', minLength: 1e9 }, 'too large'],
  ['many items', { items: { items: { items: {}, minItems: 99 }, minItems: 99 }, minItems: 99 }, 'too large'],
  ['1e9 empty items', { items: { const: 0 }, minItems: 1e9 }, 'too large'],
  ['a tree of objects', tree(12, (x, y) => ({ properties: { x, y } })), 'too large'],
  ['a deep tree', tree(40, (x, y) => ({ properties: { x, y } })), 'deep'],
  ['a tree of choices', tree(10, (x, y) => ({ anyOf: [x, y] })), 'alternatives'],
  [
    'a product of choices',
    { allOf: flat(30, () => ({ anyOf: [{ title: 'a' }, { title: 'b' }] })) },
    'alternatives',
  ],
  ['a long conjunction', { allOf: flat(1500, (i) => ({ properties: { [`p${i}`]: {} } })) }, 'too large'],
  [
    'many properties',
    { properties: Object.fromEntries(flat(2500, (i) => [`p${i}`, {}]) as []) },
    'too large',
  ],
])('%s is refused with its place', (_, schema, place) => {
  expect(() => compileConstraint(jsonSchema(schema))).toThrow(ConstraintError);
  expect(() => compileConstraint(jsonSchema(schema))).toThrow(place);
});
