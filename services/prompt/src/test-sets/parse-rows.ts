import {
  create,
  fromJson,
  isMessage,
  type JsonObject,
  type JsonValue,
  type MessageInitShape,
} from '@bufbuild/protobuf';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { validate } from '@landfall/common/rpc/validation.ts';
import { type TestSetRow, TestSetRowSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import {
  type ScoreFunction,
  ScoreFunctionSchema,
} from '@landfall/proto/landfall/prompt/v1/score_function_pb.js';
import { checkScoreFunction, needsExpected } from '../domain/score-functions.ts';

/** What is wrong with a row, by its number from 1. */
export interface RowProblem {
  row: number;
  problem: string;
}

/** Members that are no variables in a row without `variables`. */
const OWN = new Set(['expected', 'answer', 'output', 'checks', 'tags']);
const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;

/** Rows of JSON lines; blank lines are left out and still counted. */
export function parseJsonLines(text: string): { rows: TestSetRow[]; problems: RowProblem[] } {
  const values: [number, () => JsonValue][] = [];
  for (const [i, line] of text
    .replace(/^\ufeff/, '')
    .split(/\r?\n/)
    .entries()) {
    if (line.trim() !== '') values.push([i + 1, () => JSON.parse(line) as JsonValue]);
  }
  return readRows(values);
}

/** Rows of a JSON array. @throws SyntaxError where the text is none */
export function parseJsonArray(text: string): { rows: TestSetRow[]; problems: RowProblem[] } {
  const values: unknown = JSON.parse(text);
  if (!Array.isArray(values)) throw new SyntaxError('is not a JSON array');
  return readRows(values.map((value: JsonValue, i) => [i + 1, () => value]));
}

function readRows(values: readonly (readonly [number, () => JsonValue])[]) {
  const rows: TestSetRow[] = [];
  const problems: RowProblem[] = [];
  for (const [number, value] of values) {
    try {
      rows.push(rowOf(value()));
    } catch (error) {
      problems.push({ row: number, problem: shortMessage(error) });
    }
  }
  return { rows, problems };
}

/** What is wrong with rows that came as messages; their limits have been checked with the request. */
export function rowProblems(rows: readonly TestSetRow[]): RowProblem[] {
  return rows.flatMap((row, i) => {
    try {
      checkRow(row);
      return [];
    } catch (error) {
      return [{ row: i + 1, problem: shortMessage(error) }];
    }
  });
}

function rowOf(value: JsonValue): TestSetRow {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SyntaxError('is not a JSON object');
  }
  const own = 'variables' in value;
  const variables = own ? value.variables : withoutOwn(value);
  if (typeof variables !== 'object' || variables === null || Array.isArray(variables)) {
    throw new SyntaxError('`variables` is not an object');
  }
  const expected = value.expected ?? (own ? undefined : (value.answer ?? value.output));
  const row = create(TestSetRowSchema, {
    variables: variables as JsonObject,
    expected: textsOf(expected, 'expected'),
    checks: checksOf(value.checks),
    tags: textsOf(value.tags, 'tags'),
  } satisfies MessageInitShape<typeof TestSetRowSchema>);
  validate(TestSetRowSchema, row);
  checkRow(row);
  return row;
}

const withoutOwn = (value: JsonObject): JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !OWN.has(name)));

/** A text, number or switch, or a list of them, as texts. */
function textsOf(value: JsonValue | undefined, member: string): string[] {
  if (value === undefined || value === null) return [];
  return (Array.isArray(value) ? value : [value]).map((one) => {
    if (typeof one === 'object') throw new SyntaxError(`\`${member}\` is neither a text nor a list of texts`);
    return String(one);
  });
}

function checksOf(value: JsonValue | undefined): ScoreFunction[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new SyntaxError('`checks` is not a list');
  return value.map((one, i) => {
    const check = fromJson(ScoreFunctionSchema, one);
    if (!isMessage(check) || !check.kind.case) throw new SyntaxError(`checks[${i}] names no kind of check`);
    return check;
  });
}

function checkRow({ variables, expected, checks }: TestSetRow): void {
  for (const name of Object.keys(variables ?? {})) {
    if (!NAME.test(name)) throw new SyntaxError(`'${name.slice(0, 64)}' is not a name of a variable`);
  }
  for (const [i, check] of checks.entries()) {
    checkScoreFunction(check, `checks[${i}]`);
    if (needsExpected(check) && expected.length === 0) {
      throw new SyntaxError(`checks[${i}] compares with an expected answer, and the row has none`);
    }
  }
}

const shortMessage = (error: unknown) => {
  if (!(error instanceof LandfallError) && !(error instanceof Error)) return 'is no row';
  return error.message.replace(/\s+/g, ' ').slice(0, 160);
};
