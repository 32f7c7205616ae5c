import { invalidArgument, LandfallError } from '@landfall/common/errors/errors.ts';
import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import type { DataValidateFunction } from 'ajv/dist/types/index.js';
import { fullFormats } from 'ajv-formats/dist/formats.js';
import { linearRegex } from './linear-regex.ts';
import { checkSchemaBounds } from './schema-bounds.ts';

const MOST_KEPT = 128;
/** Cost of a schema times characters of an answer: about half a second at the worst. */
const MOST_WORK = 8_000_000;
/** As far as all problems are looked for, and not the first alone: each may become an object. */
const MOST_WORK_FOR_ALL = 500_000;
/** Formats are tested by ordinary expressions, some of them worse than linear. */
const LONGEST_FORMATTED = 1_024;

/** A compiled schema: the first problem of a value, or all of them where that is cheap. */
interface Check {
  cost: number;
  first: ValidateFunction;
  /** Compiled when an answer first breaks the schema. */
  all: () => ValidateFunction;
}

const known = new Map<string, Check>();

/**
 * A JSON schema as a check. Patterns run in linear time, `uniqueItems` too; the schema has bounds of its own.
 *
 * @param text the schema as JSON
 * @param field for the error
 * @returns a function of a value and the length of its JSON in characters: what is wrong, at most ten things
 * @throws LandfallError INVALID_ARGUMENT naming the place in the schema that is wrong
 */
export function answerSchema(text: string, field: string): (value: unknown, length: number) => string[] {
  let check = known.get(text);
  if (!check) {
    check = compile(text, field);
    if (known.size >= MOST_KEPT) known.delete(known.keys().next().value!);
    known.set(text, check);
  }
  const { cost, first, all } = check;
  const most = Math.floor(MOST_WORK / cost);
  return (value, length) => {
    const work = cost * length;
    if (work > MOST_WORK)
      return [`the answer is too long for its schema: ${length} characters, at most ${most}`];
    if (first(value)) return [];
    const validate = work > MOST_WORK_FOR_ALL ? first : all();
    validate(value);
    return (validate.errors ?? []).slice(0, 10).map(problem);
  };
}

function compile(text: string, field: string): Check {
  const schema = readSchema(text, field);
  const cost = checkSchemaBounds(schema, field);
  try {
    const first = compiler(field, false).compile(schema);
    let all: ValidateFunction | undefined;
    return { cost, first, all: () => (all ??= compiler(field, true).compile(schema)) };
  } catch (cause) {
    if (cause instanceof LandfallError) throw cause;
    const why = cause instanceof Error ? cause.message : 'not readable';
    throw invalidArgument(field, `is no JSON schema: ${why.slice(0, 300)}`, { cause });
  }
}

function compiler(field: string, allErrors: boolean): Ajv2020 {
  const ajv = new Ajv2020({
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    allErrors,
    inlineRefs: false,
    logger: false,
    code: { regExp: regExpOf(field) },
  });
  for (const [name, format] of Object.entries(fullFormats)) ajv.addFormat(name, bounded(format));
  ajv.removeKeyword('uniqueItems');
  ajv.addKeyword({ keyword: 'uniqueItems', type: 'array', schemaType: 'boolean', validate: distinct });
  ajv.removeKeyword('const');
  ajv.addKeyword({ keyword: 'const', errors: 'full', compile: (value: unknown) => oneOf([value], 'const') });
  ajv.removeKeyword('enum');
  ajv.addKeyword({
    keyword: 'enum',
    schemaType: 'array',
    errors: 'full',
    compile: (values: unknown[]) => oneOf(values, 'enum'),
  });
  return ajv;
}

/** The standard check calls `valueOf`, `toString` and `constructor` of a value, which are names like any other in JSON. */
function oneOf(allowedValues: unknown[], keyword: 'const' | 'enum'): DataValidateFunction {
  const texts = new Set(allowedValues.map(canonical));
  const check: DataValidateFunction = (value: unknown) => {
    if (texts.has(canonical(value))) return true;
    const message =
      keyword === 'const' ? 'must be equal to constant' : 'must be equal to one of the allowed values';
    check.errors = [{ keyword, message, params: { allowedValues } }];
    return false;
  };
  return check;
}

type Format = (typeof fullFormats)[keyof typeof fullFormats];

/** A format whose texts are short enough for any expression. */
function bounded(format: Format): Format {
  const test = (check: unknown, text: string): boolean =>
    text.length <= LONGEST_FORMATTED &&
    (check instanceof RegExp ? check.test(text) : (check as (text: string) => boolean)(text));
  if (format === true || typeof format === 'string') return format;
  if (format instanceof RegExp || typeof format === 'function') return (text: string) => test(format, text);
  if (!('validate' in format) || ('type' in format && format.type === 'number')) return format;
  const { validate } = format;
  return typeof validate === 'string' ? format : (text: string) => test(validate, text);
}

function readSchema(text: string, field: string): Record<string, unknown> {
  let schema: unknown;
  try {
    schema = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 200) : '';
    throw invalidArgument(field, `is not JSON: ${why}`, { cause });
  }
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema)) {
    throw invalidArgument(field, 'is no JSON schema: a JSON object is one');
  }
  // The dialect is always 2020-12; what others write here would be looked up.
  const { $schema: _dialect, ...rest } = schema as Record<string, unknown>;
  return rest;
}

function regExpOf(field: string) {
  const engine = (pattern: string) => {
    const regex = linearRegex(pattern, `${field} pattern`);
    // ajv keeps expressions by their text: without one of its own, all would be the first.
    return { test: (text: string) => regex.finds(text) === true, toString: () => pattern };
  };
  return Object.assign(engine, { code: 'linearRegex' });
}

/** Linear in the array's text; the standard check compares every pair. */
function distinct(wanted: boolean, items: unknown[]): boolean {
  return !wanted || new Set(items.map(canonical)).size === items.length;
}

function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, inner) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

function problem({ instancePath, message, params }: ErrorObject): string {
  const place = instancePath === '' ? 'the answer' : instancePath.slice(0, 200);
  const allowed = (params as { allowedValues?: unknown[] }).allowedValues;
  const extra = (params as { additionalProperty?: string }).additionalProperty;
  const detail = allowed
    ? `: ${allowed
        .map((value) => JSON.stringify(value))
        .join(', ')
        .slice(0, 500)}`
    : extra
      ? `: '${extra.slice(0, 100)}'`
      : '';
  return `${place} ${message ?? 'does not fit the schema'}${detail}`;
}
