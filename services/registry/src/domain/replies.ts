import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  FileSchema,
  Kind,
  type Model as ModelMessage,
  ModelSchema,
  type Version as VersionMessage,
  VersionSchema,
  VersionState,
} from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  AliasEntity,
  type KindName,
  type Model,
  type StateName,
  type Version,
  VersionDatasetEntity,
  VersionEntity,
  VersionFileEntity,
} from '../db/entities.ts';
import { VersionPromptEntity } from '../db/life-entities.ts';
import { removalTimes } from './empty-models.ts';
import { sortFiles } from './manifest.ts';
import { formatReference } from './reference.ts';
import { stageValue } from './stage-names.ts';

const KINDS: Record<KindName, Kind> = { base: Kind.BASE, adapter: Kind.ADAPTER, dataset: Kind.DATASET };
const STATES: Record<StateName, VersionState> = { draft: VersionState.DRAFT, ready: VersionState.READY };

/** The stored name of a kind; undefined for KIND_UNSPECIFIED. */
export function kindName(kind: Kind): KindName | undefined {
  return (Object.keys(KINDS) as KindName[]).find((name) => KINDS[name] === kind);
}

/** The stored name of a state; undefined for VERSION_STATE_UNSPECIFIED and for DELETED, which is a fact of its own. */
export function stateName(state: VersionState): StateName | undefined {
  return (Object.keys(STATES) as StateName[]).find((name) => STATES[name] === state);
}

export function fileReply(file: { path: string; digest: string; sizeBytes: number }) {
  return create(FileSchema, { path: file.path, digest: file.digest, sizeBytes: BigInt(file.sizeBytes) });
}

/**
 * Models with their aliases and newest READY versions, in the order given; four queries for any number.
 * @param keepEmptyMs how long a model of which no version became READY is kept
 */
export async function modelReplies(
  em: EntityManager,
  models: readonly Model[],
  keepEmptyMs: number,
): Promise<ModelMessage[]> {
  if (models.length === 0) return [];
  const ids = models.map(({ id }) => id);
  const aliases = await em.find(AliasEntity, { modelId: { $in: ids } }, { orderBy: { alias: 'asc' } });
  const newest = new Map<string, string>();
  const tops = await em
    .createQueryBuilder(VersionEntity, 'v')
    .select(['v.modelId', 'v.version'])
    .where({ modelId: { $in: ids }, state: 'ready', deletedMs: null })
    .andWhere(
      `not exists (select 1 from version w where w.model_id = v.model_id and w.state = ? and w.deleted_ms is null
         and w.precedence > v.precedence)`,
      ['ready'],
    )
    .execute('all');
  for (const row of tops as { modelId: string; version: string }[]) newest.set(row.modelId, row.version);
  const removals = await removalTimes(em, ids, keepEmptyMs);
  return models.map((model) => {
    const removeMs = removals.get(model.id);
    return create(ModelSchema, {
      name: model.name,
      kind: KINDS[model.kind],
      description: model.description,
      labels: model.labels,
      createTime: timestampFromMs(model.createdMs),
      latestVersion: newest.get(model.id) ?? '',
      revision: BigInt(model.revision),
      aliases: Object.fromEntries(
        aliases.filter(({ modelId }) => modelId === model.id).map(({ alias, version }) => [alias, version]),
      ),
      ...(removeMs !== undefined && { removeTime: timestampFromMs(removeMs) }),
    });
  });
}

export async function modelReply(
  em: EntityManager,
  model: Model,
  keepEmptyMs: number,
): Promise<ModelMessage> {
  return (await modelReplies(em, [model], keepEmptyMs))[0]!;
}

/**
 * Versions with lineage and aliases, in the order given; four queries for any number.
 * @param options whether files are told; their number can be large
 */
export async function versionReplies(
  em: EntityManager,
  versions: readonly Version[],
  { files: withFiles } = { files: true },
): Promise<VersionMessage[]> {
  if (versions.length === 0) return [];
  const ids = versions.map(({ id }) => id);
  const files = groupBy(await em.find(VersionFileEntity, { versionId: { $in: ids } }));
  const prompts = groupBy(
    await em.find(VersionPromptEntity, { versionId: { $in: ids } }, { orderBy: { position: 'asc' } }),
  );
  const datasets = groupBy(
    await em.find(VersionDatasetEntity, { versionId: { $in: ids } }, { orderBy: { position: 'asc' } }),
  );
  const aliases = groupBy(
    await em.find(AliasEntity, { versionId: { $in: ids } }, { orderBy: { alias: 'asc' } }),
  );
  return versions.map((version) => {
    const own = files.get(version.id) ?? [];
    const init: MessageInitShape<typeof VersionSchema> = {
      name: version.name,
      version: version.version,
      id: version.id,
      kind: KINDS[version.kind],
      state: version.deletedMs ? VersionState.DELETED : STATES[version.state],
      description: version.description,
      digest: version.digest,
      metrics: version.metrics,
      lineage: {
        base: version.base,
        parent: version.parent,
        datasets: (datasets.get(version.id) ?? []).map(({ ref, digest, role }) => ({ ref, digest, role })),
        jobId: version.jobId,
        method: version.method,
        prompts: (prompts.get(version.id) ?? []).map(({ ref, role }) => ({ ref, role })),
        source: version.source,
      },
      labels: version.labels,
      aliases: (aliases.get(version.id) ?? []).map(({ alias }) => alias),
      createTime: timestampFromMs(version.createdMs),
      sizeBytes: own.reduce((sum, { sizeBytes }) => sum + BigInt(sizeBytes), 0n),
      ref: formatReference(version.name, version.version),
      stage: stageValue(version.stage),
      license: version.license,
      tags: version.tags,
      createdBy: version.createdBy,
    };
    if (withFiles) init.manifest = { files: sortFiles(own).map(fileReply) };
    if (version.readyMs) init.readyTime = timestampFromMs(version.readyMs);
    if (version.deprecatedMs) init.deprecation = deprecationReply(version, version.deprecatedMs);
    if (version.deletedMs) init.deleteTime = timestampFromMs(version.deletedMs);
    if (version.purgeMs) init.purgeTime = timestampFromMs(version.purgeMs);
    return create(VersionSchema, init);
  });
}

export async function versionReply(em: EntityManager, version: Version): Promise<VersionMessage> {
  return (await versionReplies(em, [version]))[0]!;
}

function deprecationReply({ sunsetMs, deprecationReason, successor }: Version, deprecatedMs: number) {
  return {
    reason: deprecationReason,
    successor,
    deprecateTime: timestampFromMs(deprecatedMs),
    ...(sunsetMs && { sunsetTime: timestampFromMs(sunsetMs) }),
  };
}

function groupBy<R extends { versionId: string }>(rows: readonly R[]): Map<string, R[]> {
  const groups = new Map<string, R[]>();
  for (const row of rows) {
    const group = groups.get(row.versionId);
    if (group) group.push(row);
    else groups.set(row.versionId, [row]);
  }
  return groups;
}
