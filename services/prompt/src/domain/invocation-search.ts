import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type {
  ListInvocationsRequest,
  ScoreFilter,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { FilterQuery } from '@mikro-orm/core';
import { type InvocationRow, InvocationSchema } from '../db/entities.ts';

/** Scores in a range that are looked up as such; more are walked back in time, where a page is soon full. */
const FEW = 5000;
const STEP = 500;
const LAST_MS = 2 ** 48 - 1;

/**
 * Rows of the log, newest first.
 * @param before only ids below this one
 */
export async function searchInvocations(
  em: EntityManager,
  tenant: string,
  request: ListInvocationsRequest,
  before: string | undefined,
  limit: number,
): Promise<InvocationRow[]> {
  const where = conditions(tenant, request, before);
  if (!request.score) return em.find(InvocationSchema, where, { orderBy: { id: 'desc' }, limit });
  const found: InvocationRow[] = [];
  const newest = idBounds(request, before);
  for await (const ids of scoredIds(em, tenant, request.score, newest)) {
    const both = { $and: [where, { id: { $in: ids } }] } as FilterQuery<InvocationRow>;
    found.push(
      ...(await em.find(InvocationSchema, both, { orderBy: { id: 'desc' }, limit: limit - found.length })),
    );
    if (found.length >= limit) break;
  }
  return found;
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
  { name, minimum, maximum }: ScoreFilter,
  { from, below }: IdBounds,
): AsyncGenerator<string[]> {
  const range = [minimum ?? -Number.MAX_VALUE, maximum ?? Number.MAX_VALUE];
  if (range[0]! > range[1]!) throw invalidArgument('score.maximum', 'must not be below score.minimum');
  const run = async (sql: string, values: unknown[]): Promise<string[]> => {
    const rows = (await em.getConnection().execute(sql, values, 'all', em.getTransactionContext())) as {
      invocation_id: string;
    }[];
    return rows.map((row) => row.invocation_id);
  };
  const few = await run(
    `select invocation_id from score where tenant = ? and name = ? and value >= ? and value <= ? limit ${FEW + 1}`,
    [tenant, name, ...range],
  );
  if (few.length <= FEW) {
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
      `select invocation_id from score where tenant = ? and name = ? and invocation_id < ? and invocation_id >= ?
         and value + 0 >= ? and value + 0 <= ? order by invocation_id desc limit ${STEP}`,
      [tenant, name, last, from ?? firstId(0), ...range],
    );
    if (ids.length === 0) return;
    yield [...new Set(ids)];
    last = ids.at(-1)!;
  }
}
