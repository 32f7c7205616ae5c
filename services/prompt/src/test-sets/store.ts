import { createHash } from 'node:crypto';
import { create, fromJsonString, type JsonValue, toJson, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument, notFound } from '@landfall/common/errors/errors.ts';
import {
  type TestSet,
  TestSetSchema as TestSetMessage,
  type TestSetRow,
  TestSetRowSchema as TestSetRowMessage,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { TestSetEntity, type TestSetRecord, TestSetRowEntity } from '../db/evaluation-entities.ts';
import type { RowProblem } from './parse-rows.ts';

export const MOST_ROWS = 10_000;
const TOLD = 10;
const BATCH = 500;
const PREFIX = 'tests:/';

/** A set to be made. */
export interface NewTestSet {
  name: string;
  description: string;
  source: string;
  rows: readonly TestSetRow[];
}

/** @throws LandfallError INVALID_ARGUMENT naming the rows that are wrong, or their number */
export function requireRows(
  field: string,
  rows: readonly TestSetRow[],
  problems: readonly RowProblem[],
): void {
  if (problems.length > 0) {
    const told = problems.slice(0, TOLD).map(({ row, problem }) => `row ${row}: ${problem}`);
    const more = problems.length > TOLD ? `; and ${problems.length - TOLD} more rows` : '';
    throw invalidArgument(field, `${told.join('; ')}${more}`, { reason: 'BAD_ROWS' });
  }
  if (rows.length === 0) throw invalidArgument(field, 'has no rows');
  if (rows.length > MOST_ROWS) {
    throw invalidArgument(field, `has ${rows.length} rows; at most ${MOST_ROWS} are taken`);
  }
}

/**
 * Adds a version to a test set, in the caller's transaction, unless the newest one has the same rows.
 * @returns the version that holds the rows
 */
export async function addTestSet(
  em: EntityManager,
  tenant: string,
  author: string,
  { name, description, source, rows }: NewTestSet,
): Promise<TestSetRecord> {
  const newest = await newestTestSet(em, tenant, name);
  const digest = rowsDigest(rows);
  if (newest?.digest === digest) return newest;
  const number = (newest?.number ?? 0) + 1;
  const version = `1.${number - 1}.0`;
  const tags = JSON.stringify(countTags(rows));
  const record = {
    ...{ tenant, name, version, number, description, digest, rows: rows.length, tags, source, author },
    createdMs: Date.now(),
  };
  await em.insert(TestSetEntity, record);
  for (let at = 0; at < rows.length; at += BATCH) {
    const batch = rows.slice(at, at + BATCH).map((row, i) => {
      return { tenant, name, version, row: at + i, content: toJsonString(TestSetRowMessage, row) };
    });
    await em.insertMany(TestSetRowEntity, batch);
  }
  return record as TestSetRecord;
}

const newestTestSet = (em: EntityManager, tenant: string, name: string) =>
  em.findOne(TestSetEntity, { tenant, name }, { orderBy: { number: 'desc' } });

/** A version of a test set, the newest for ''. @throws LandfallError NOT_FOUND */
export async function findTestSet(
  em: EntityManager,
  tenant: string,
  name: string,
  version: string,
): Promise<TestSetRecord> {
  const found = version
    ? await em.findOne(TestSetEntity, { tenant, name, version })
    : await newestTestSet(em, tenant, name);
  if (!found) {
    const what = version
      ? `test set '${name}' has no version '${version}'`
      : `there is no test set '${name}'`;
    throw notFound(what, { reason: 'TEST_SET_NOT_FOUND' });
  }
  return found;
}

/** All rows of a version in their order. */
export async function loadRows(em: EntityManager, set: TestSetRecord): Promise<TestSetRow[]> {
  const { tenant, name, version } = set;
  const found = await em.find(TestSetRowEntity, { tenant, name, version }, { orderBy: { row: 'asc' } });
  return found.map(({ content }) => readRow(content));
}

export const readRow = (content: string): TestSetRow => fromJsonString(TestSetRowMessage, content);

/** `tests:/name/version`. */
export const testSetRef = ({ name, version }: Pick<TestSetRecord, 'name' | 'version'>): string =>
  `${PREFIX}${name}/${version}`;

/** Name and version of `tests:/name/version` or `tests:/name`; undefined for anything else. */
export function parseTestSetRef(ref: string): { name: string; version: string } | undefined {
  const [, name, version = ''] =
    /^tests:\/([a-z0-9]+(?:[._-][a-z0-9]+)*)(?:\/([0-9A-Za-z.+-]+))?$/.exec(ref) ?? [];
  return name === undefined ? undefined : { name, version };
}

export function testSetReply(record: TestSetRecord): TestSet {
  const { name, version, description, digest, rows, tags, source, author, createdMs } = record;
  return create(TestSetMessage, {
    ...{ name, version, ref: testSetRef(record), description, digest, rows, source, author },
    tags: JSON.parse(tags) as Record<string, number>,
    createTime: timestampFromMs(createdMs),
  });
}

/** sha256 over the rows in their order; the order of a row's variables makes no difference. */
function rowsDigest(rows: readonly TestSetRow[]): string {
  const hash = createHash('sha256');
  for (const row of rows) hash.update(`${sortedJson(toJson(TestSetRowMessage, row))}\n`);
  return `sha256:${hash.digest('hex')}`;
}

/** JSON with the members of every object in the order of their names. */
export function sortedJson(value: JsonValue): string {
  return JSON.stringify(value, (_key, one: JsonValue) =>
    typeof one === 'object' && one !== null && !Array.isArray(one)
      ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))
      : one,
  );
}

function countTags(rows: readonly TestSetRow[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { tags } of rows) for (const tag of tags) counts[tag] = (counts[tag] ?? 0) + 1;
  return counts;
}
