import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type {
  ListInvocationsRequest,
  ScoreFilter,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { FilterQuery } from '@mikro-orm/core';
import { type InvocationRow, InvocationSchema, ScoreSchema } from '../db/entities.ts';

/** Scores in a range that are looked up as such; more are walked back in time, where a page is soon full. */
const FEW = 5000;
/** The same where other filters leave few of them, within the database. */
const FEW_TO_FILTER = 10_000;
const STEP = 500;
const LARGEST_STEP = 8000;
const LAST_MS = 2 ** 48 - 1;

/**
 * Rows of the log, newest first.
 * @param before only ids below this one
 * @param visible what the caller may see of them, by their prompts; undefined for all
 */
export async function searchInvocations(
  em: EntityManager,
  tenant: string,
  request: ListInvocationsRequest,
  before: string | undefined,
  limit: number,
  visible?: FilterQuery<InvocationRow>,
): Promise<InvocationRow[]> {
  const asked = conditions(tenant, request, before);
  const where = visible ? ({ $and: [asked, visible] } as FilterQuery<InvocationRow>) : asked;
  const { score, name, caller, deployment, error } = request;
  if (!score) return em.find(InvocationSchema, where, { orderBy: { id: 'desc' }, limit });
  const walks = [byScores(em, tenant, request, before, where)];
  // Where scores are many and the other filter is narrow, that one is soon at its end.
  if (caller || deployment || error || name) walks.push(byOthers(em, score, where));
  return firstToEnd(walks, limit);
}

/** Walks that find the same rows in the same order, in turn, until one has enough of them or has come to its end. */
async function firstToEnd(
  walks: readonly AsyncGenerator<InvocationRow[]>[],
  limit: number,
): Promise<InvocationRow[]> {
  const found = walks.map(() => [] as InvocationRow[]);
  for (;;) {
    for (const [i, walk] of walks.entries()) {
      const { done, value } = await walk.next();
      if (!done) found[i]!.push(...value);
      if (done || found[i]!.length >= limit) return found[i]!.slice(0, limit);
    }
  }
}

/** The scores in the range, and which of their invocations fit. */
async function* byScores(
  em: EntityManager,
  tenant: string,
  request: ListInvocationsRequest,
  before: string | undefined,
  where: FilterQuery<InvocationRow>,
): AsyncGenerator<InvocationRow[]> {
  for await (const ids of scoredIds(em, tenant, request, idBounds(request, before))) {
    const both = { $and: [where, { id: { $in: ids } }] } as FilterQuery<InvocationRow>;
    yield await em.find(InvocationSchema, both, { orderBy: { id: 'desc' } });
  }
}

/** The invocations that fit, and which of them have such a score. */
async function* byOthers(
  em: EntityManager,
  { name, minimum = -Number.MAX_VALUE, maximum = Number.MAX_VALUE }: ScoreFilter,
  where: FilterQuery<InvocationRow>,
): AsyncGenerator<InvocationRow[]> {
  let last = firstId(LAST_MS);
  for (let step = STEP; ; step = Math.min(step * 4, LARGEST_STEP)) {
    const next = { $and: [where, { id: { $lt: last } }] } as FilterQuery<InvocationRow>;
    // Parts of rows, that nobody else should take for whole ones.
    const part = { disableIdentityMap: true } as const;
    const rows = await em.find(InvocationSchema, next, {
      ...{ ...part, fields: ['id'], limit: step },
      orderBy: { id: 'desc' },
    });
    if (rows.length === 0) return;
    last = rows.at(-1)!.id;
    const $in = rows.map(({ id }) => id);
    // By their key alone: the range would lead a database to the wrong index.
    const scores = await em.find(
      ScoreSchema,
      { invocationId: { $in }, name },
      { ...part, fields: ['value'] },
    );
    const inside = scores.filter(({ value }) => Number(value) >= minimum && Number(value) <= maximum);
    const ids = [...new Set(inside.map(({ invocationId }) => invocationId))];
    yield ids.length === 0
      ? []
      : await em.find(InvocationSchema, { id: { $in: ids } }, { orderBy: { id: 'desc' } });
  }
}

function conditions(
  tenant: string,
  request: ListInvocationsRequest,
  before: string | undefined,
): FilterQuery<InvocationRow> {
  const { name, version, deployment, caller, error } = request;
  const { from, below } = idBounds(request, before);
  return {
    tenant,
    ...(from || below ? { id: { ...(from ? { $gte: from } : {}), ...(below ? { $lt: below } : {}) } } : {}),
    ...(name ? { name } : {}),
    ...(version ? { version } : {}),
    ...(deployment ? { deployment } : {}),
    ...(caller ? { caller } : {}),
    ...(error === '*' ? { failed: true } : error === '-' ? { failed: false } : error ? { error } : {}),
  };
}

interface IdBounds {
  from: string | undefined;
  below: string | undefined;
}

/** Ids are UUIDs of version 7: a time is a bound of them. */
function idBounds({ startTime, endTime }: ListInvocationsRequest, before: string | undefined): IdBounds {
  const startMs = startTime ? timestampMs(startTime) : 0;
  const endMs = endTime ? timestampMs(endTime) : LAST_MS;
  if (startTime && endTime && endMs <= startMs) {
    throw invalidArgument('end_time', 'must be later than start_time');
  }
  const end = endTime ? firstId(endMs) : undefined;
  const below = end && before ? (end < before ? end : before) : (end ?? before);
  return { from: startTime ? firstId(startMs) : undefined, below };
}

/** The least UUID of version 7 of a millisecond since 1970. */
export function firstId(ms: number): string {
  const hex = Math.min(Math.max(Math.ceil(ms), 0), LAST_MS)
    .toString(16)
    .padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

/** Ids of invocations with such a score, newest first, in steps. */
async function* scoredIds(
  em: EntityManager,
  tenant: string,
  request: ListInvocationsRequest,
  { from, below }: IdBounds,
): AsyncGenerator<string[]> {
  const { name, minimum, maximum } = request.score!;
  const range = [minimum ?? -Number.MAX_VALUE, maximum ?? Number.MAX_VALUE];
  if (range[0]! > range[1]!) throw invalidArgument('score.maximum', 'must not be below score.minimum');
  const run = async (sql: string, values: unknown[]): Promise<string[]> => {
    const rows = (await em.getConnection().execute(sql, values, 'all', em.getTransactionContext())) as {
      invocation_id: string;
    }[];
    return rows.map((row) => row.invocation_id);
  };
  const [of, whose] = request.name
    ? ['tenant = ? and prompt = ? and name = ?', [tenant, request.name, name]]
    : ['tenant = ? and name = ?', [tenant, name]];
  const inRange = `from score where ${of} and value >= ? and value <= ?`;
  const fits = fitting(request);
  const most = fits.sql ? FEW_TO_FILTER : FEW;
  // Whether there are more is one number; they themselves are many texts.
  const more = await run(`select '' as invocation_id ${inRange} limit 1 offset ${most}`, [
    ...whose,
    ...range,
  ]);
  if (more.length === 0) {
    const few = await run(`select invocation_id ${inRange}${fits.sql}`, [...whose, ...range, ...fits.values]);
    // Several people may have given one invocation such a score.
    const inside = [...new Set(few)].filter((id) => (!from || id >= from) && (!below || id < below));
    inside.sort().reverse();
    for (let i = 0; i < inside.length; i += STEP) yield inside.slice(i, i + STEP);
    return;
  }
  let last = below ?? firstId(LAST_MS);
  for (;;) {
    // `value + 0` keeps both databases on the index that is in order of time.
    const ids = await run(
      `select invocation_id from score where ${of} and invocation_id < ? and invocation_id >= ?
         and value + 0 >= ? and value + 0 <= ? order by invocation_id desc limit ${STEP}`,
      [...whose, last, from ?? firstId(0), ...range],
    );
    if (ids.length === 0) return;
    yield [...new Set(ids)];
    last = ids.at(-1)!;
  }
}

/** A condition on scores by the other filters of the request, so that what fits neither never leaves the database. */
function fitting({ version, deployment, caller, error }: ListInvocationsRequest): {
  sql: string;
  values: string[];
} {
  const isCode = error !== '*' && error !== '-' ? error : '';
  const equal = Object.entries({ version, deployment, caller, error: isCode }).filter(([, value]) => value);
  const conditions = equal.map(([column]) => `i.${column} = ?`);
  if (error === '*') conditions.push('i.failed');
  if (error === '-') conditions.push('not i.failed');
  if (conditions.length === 0) return { sql: '', values: [] };
  const sql = ` and exists (select 1 from invocation i where i.id = score.invocation_id and ${conditions.join(' and ')})`;
  return { sql, values: equal.map(([, value]) => value) };
}
