import type { EntityManager } from '@landfall/common/db/database.ts';
import { type FilterQuery, raw } from '@mikro-orm/core';
import {
  type KindName,
  type Model,
  ModelEntity,
  type StateName,
  type Version,
  VersionEntity,
  VersionFileEntity,
} from '../db/entities.ts';
import { findModel } from './find.ts';
import { DEFAULT_PAGE_SIZE, decodePageToken, encodePageToken } from './page-token.ts';
import { parseReference } from './reference.ts';

/** Sort keys as they stand in page tokens. */
const NAME = /^[a-z0-9._-]{1,64}$/;
const PRECEDENCE = /^[0-9a-f]{1,512}$/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** A page of versions ends early rather than tell of more files than this. */
const MAX_FILES_ON_PAGE = 20_000;

export type Page<R> = { rows: R[]; nextPageToken: string };
export type PageRequest = { pageSize: number; pageToken: string };

export type ModelFilter = { kind: KindName | undefined; namePrefix: string };

/** The tenant's models by name. */
export async function listModels(
  em: EntityManager,
  tenant: string,
  filter: ModelFilter,
  page: PageRequest,
): Promise<Page<Model>> {
  const filters = ['models', filter.kind ?? '', filter.namePrefix];
  const after = decodePageToken(page.pageToken, NAME, filters);
  const where: FilterQuery<Model>[] = [{ tenant }];
  if (filter.kind) where.push({ kind: filter.kind });
  // A range instead of LIKE: an index serves it, and '_' means itself. '~' lies behind every character of a name.
  if (filter.namePrefix) where.push({ name: { $gte: filter.namePrefix, $lt: `${filter.namePrefix}~` } });
  if (after !== undefined) where.push({ name: { $gt: after } });
  const size = page.pageSize || DEFAULT_PAGE_SIZE;
  const rows = await em.find(ModelEntity, { $and: where }, { orderBy: { name: 'asc' }, limit: size + 1 });
  return cut(rows, size, ({ name }) => name, filters);
}

export type VersionFilter = {
  /** All models' versions where empty. */
  name: string;
  state: StateName | undefined;
  kind: KindName | undefined;
  base: string;
  /** `deleted` lists those alone; purged ones are never shown. */
  show: 'live' | 'all' | 'deleted';
};

/**
 * Versions, newest first: of one model by SemVer precedence, over all models by when they were created. Throws
 * NOT_FOUND for a name that is none.
 */
export async function listVersions(
  em: EntityManager,
  tenant: string,
  filter: VersionFilter,
  page: PageRequest,
): Promise<Page<Version>> {
  const filters = ['versions', filter.name, filter.state ?? '', filter.kind ?? '', filter.base, filter.show];
  const where: FilterQuery<Version>[] = [{ tenant, purgedMs: null }];
  if (filter.show !== 'all') where.push({ deletedMs: filter.show === 'live' ? null : { $ne: null } });
  const key = filter.name ? 'precedence' : 'id';
  const after = decodePageToken(page.pageToken, filter.name ? PRECEDENCE : UUID, filters);
  if (filter.name) where.push({ modelId: (await findModel(em, tenant, filter.name)).id });
  if (filter.state) where.push({ state: filter.state });
  if (filter.kind) where.push({ kind: filter.kind });
  if (filter.base) {
    parseReference(filter.base, 'base');
    where.push({ base: filter.base });
  }
  if (after !== undefined) where.push({ [key]: { $lt: after } });
  const limit = (page.pageSize || DEFAULT_PAGE_SIZE) + 1;
  const rows = await em.find(VersionEntity, { $and: where }, { orderBy: { [key]: 'desc' }, limit });
  const size = Math.min(limit - 1, await countWithinFiles(em, rows));
  return cut(rows, size, (row) => row[key], filters);
}

/** How many of the versions have MAX_FILES_ON_PAGE files together at most; one at least. */
async function countWithinFiles(em: EntityManager, versions: readonly Version[]): Promise<number> {
  const counts = (await em
    .createQueryBuilder(VersionFileEntity, 'f')
    .select(['f.versionId', raw('count(*) as files')])
    .where({ versionId: { $in: versions.map(({ id }) => id) } })
    .groupBy('f.versionId')
    .execute('all')) as unknown as { versionId: string; files: number | string }[];
  const files = new Map(counts.map((row) => [row.versionId, Number(row.files)]));
  let total = 0;
  const end = versions.findIndex(({ id }, index) => {
    total += files.get(id) ?? 0;
    return index > 0 && total > MAX_FILES_ON_PAGE;
  });
  return end < 0 ? versions.length : end;
}

export function cut<R>(
  rows: R[],
  size: number,
  keyOf: (row: R) => string,
  filters: readonly unknown[],
): Page<R> {
  const shown = rows.slice(0, size);
  const last = shown.at(-1);
  const more = rows.length > size && last !== undefined;
  return { rows: shown, nextPageToken: more ? encodePageToken(keyOf(last), filters) : '' };
}
