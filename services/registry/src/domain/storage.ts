import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Model, VersionEntity, VersionFileEntity } from '../db/entities.ts';
import { findModel } from './find.ts';
import { cut, listModels, type Page, type PageRequest } from './lists.ts';
import { DEFAULT_PAGE_SIZE, decodePageToken } from './page-token.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Bytes of a model or a version; see StorageUse in the contract. */
export type Use = {
  name: string;
  version: string;
  versions: number;
  logicalBytes: bigint;
  storedBytes: bigint;
  exclusiveBytes: bigint;
  addedBytes: bigint;
  createTime?: ReturnType<typeof timestampFromMs>;
};
export type Storage = Page<Use> & { total: Use };

type Sums = { model_id: string; versions: string | number; logical: string | number };
type Shares = { model_id: string; stored: string | number; exclusive: string | number };

const nothing = (name: string, version = ''): Use => ({
  name,
  version,
  versions: 0,
  logicalBytes: 0n,
  storedBytes: 0n,
  exclusiveBytes: 0n,
  addedBytes: 0n,
});

/** What every model of the tenant takes, a page by name, and all together. */
export async function storageOfModels(
  em: EntityManager,
  tenant: string,
  page: PageRequest,
): Promise<Storage> {
  const { rows: models, nextPageToken } = await listModels(
    em,
    tenant,
    { kind: undefined, namePrefix: '' },
    page,
  );
  const uses = await usesOfModels(em, tenant, models);
  const [all] = (await em.execute(
    `select count(distinct v.id) as versions, coalesce(sum(f.size_bytes), 0) as logical
       from version v join version_file f on f.version_id = v.id where v.tenant = ?`,
    [tenant],
  )) as Sums[];
  const [kept] = (await em.execute(
    `select coalesce(sum(size_bytes), 0) as stored from (
       select distinct f.digest, f.size_bytes from version v join version_file f on f.version_id = v.id
        where v.tenant = ?) held`,
    [tenant],
  )) as Shares[];
  const storedBytes = BigInt(kept!.stored);
  const total = {
    ...nothing(''),
    versions: Number(all!.versions),
    logicalBytes: BigInt(all!.logical),
    storedBytes,
    exclusiveBytes: storedBytes,
  };
  return { rows: models.map(({ id, name }) => uses.get(id) ?? nothing(name)), total, nextPageToken };
}

async function usesOfModels(
  em: EntityManager,
  tenant: string,
  models: readonly Model[],
): Promise<Map<string, Use>> {
  if (models.length === 0) return new Map();
  const ids = models.map(({ id }) => id);
  const marks = ids.map(() => '?').join(', ');
  const sums = (await em.execute(
    `select v.model_id, count(distinct v.id) as versions, sum(f.size_bytes) as logical
       from version v join version_file f on f.version_id = v.id
      where v.model_id in (${marks}) group by v.model_id`,
    ids,
  )) as Sums[];
  const shares = (await em.execute(
    `with held as (
       select distinct v.model_id, f.digest, f.size_bytes
         from version v join version_file f on f.version_id = v.id where v.tenant = ?),
     holders as (select digest, count(*) as models from held group by digest)
     select held.model_id, sum(held.size_bytes) as stored,
            sum(case when holders.models = 1 then held.size_bytes else 0 end) as exclusive
       from held join holders on holders.digest = held.digest
      where held.model_id in (${marks}) group by held.model_id`,
    [tenant, ...ids],
  )) as Shares[];
  const shareOf = new Map(shares.map((row) => [row.model_id, row]));
  const names = new Map(models.map(({ id, name }) => [id, name]));
  return new Map(
    sums.map((row) => {
      const share = shareOf.get(row.model_id)!;
      const use = {
        ...nothing(names.get(row.model_id)!),
        versions: Number(row.versions),
        logicalBytes: BigInt(row.logical),
        storedBytes: BigInt(share.stored),
        exclusiveBytes: BigInt(share.exclusive),
      };
      return [row.model_id, use];
    }),
  );
}

/** What every version of a model takes, a page by when they were created, and the model as a whole. */
export async function storageOfVersions(
  em: EntityManager,
  tenant: string,
  name: string,
  page: PageRequest,
): Promise<Storage> {
  const model = await findModel(em, tenant, name);
  const filters = ['storage', name];
  const after = decodePageToken(page.pageToken, UUID, filters);
  const size = page.pageSize || DEFAULT_PAGE_SIZE;
  const where = { modelId: model.id, purgedMs: null, ...(after !== undefined && { id: { $gt: after } }) };
  const found = await em.find(VersionEntity, where, { orderBy: { id: 'asc' }, limit: size + 1 });
  const { rows: versions, nextPageToken } = cut(found, size, ({ id }) => id, filters);
  const files = await em.find(VersionFileEntity, { versionId: { $in: versions.map(({ id }) => id) } });
  const holders = await holdersOf(em, tenant, model.id);
  const rows = versions.map((version): Use => {
    const use = nothing(name, version.version);
    use.versions = 1;
    use.createTime = timestampFromMs(version.createdMs);
    const seen = new Set<string>();
    for (const { versionId, digest, sizeBytes } of files) {
      if (versionId !== version.id) continue;
      const bytes = BigInt(sizeBytes);
      use.logicalBytes += bytes;
      if (seen.has(digest)) continue;
      seen.add(digest);
      const holder = holders.get(digest);
      use.storedBytes += bytes;
      if (holder?.versions === 1) use.exclusiveBytes += bytes;
      if (holder?.first === version.id) use.addedBytes += bytes;
    }
    return use;
  });
  const uses = await usesOfModels(em, tenant, [model]);
  return { rows, total: uses.get(model.id) ?? nothing(name), nextPageToken };
}

/** For each content of a model: how many versions of the tenant hold it, and the id of the first one. */
async function holdersOf(
  em: EntityManager,
  tenant: string,
  modelId: string,
): Promise<Map<string, { versions: number; first: string }>> {
  const rows = (await em.execute(
    `select f.digest, count(distinct f.version_id) as versions, min(cast(f.version_id as text)) as first
       from version_file f join version v on v.id = f.version_id
      where v.tenant = ? and f.digest in (
        select g.digest from version_file g join version w on w.id = g.version_id where w.model_id = ?)
      group by f.digest`,
    [tenant, modelId],
  )) as { digest: string; versions: string | number; first: string }[];
  return new Map(rows.map(({ digest, versions, first }) => [digest, { versions: Number(versions), first }]));
}
