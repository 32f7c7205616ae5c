import type { Database, EntityManager } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import {
  AliasEntity,
  type Model,
  ModelEntity,
  type Version,
  VersionDatasetEntity,
  VersionEntity,
  VersionFileEntity,
} from '../db/entities.ts';
import {
  ModelHistoryEntity,
  RemovedAliasEntity,
  RemovedModelEntity,
  VersionApprovalEntity,
  VersionCheckEntity,
  VersionPromptEntity,
} from '../db/life-entities.ts';
import { forgetVersion } from './catalog.ts';
import { usesOf } from './deletion.ts';
import { announceChange } from './events.ts';
import { lockModel, lockVersion } from './find.ts';
import { formatReference } from './reference.ts';

/** How many models one round removes; the next goes on. */
const MAX_REMOVALS = 100;

type Drafts = { model_id: string; newest: string | number; restorable: string | number | null };

/**
 * When models go that hold drafts alone, none of which was ever READY, as an upload leaves them that broke off: a time
 * after the newest draft was begun. In milliseconds since 1970, by the model's id; others are not in it.
 */
export async function removalTimes(
  em: EntityManager,
  modelIds: readonly string[],
  keepMs: number,
): Promise<Map<string, number>> {
  if (modelIds.length === 0) return new Map();
  const rows = (await em.execute(
    `select model_id, max(created_ms) as newest, max(purge_ms) as restorable from version
      where model_id in (${modelIds.map(() => '?').join(', ')})
      group by model_id having count(ready_ms) = 0`,
    [...modelIds],
  )) as Drafts[];
  return new Map(rows.map((row) => [row.model_id, removalTime(row, keepMs)]));
}

/** What is deleted and can be restored is kept for as long. */
const removalTime = ({ newest, restorable }: Drafts, keepMs: number): number =>
  Math.max(Number(newest) + keepMs, Number(restorable ?? 0));

/**
 * Removes models whose time has come, each in its own transaction, with an event for each draft. Their content goes with
 * the next collection. A model of the same name may be made again; its revisions go on where these end. Returns how many
 * were removed.
 */
export async function removeEmptyModels(
  database: Database,
  source: string,
  keepMs: number,
  logger: Logger,
): Promise<number> {
  const due = (await database.read((em) =>
    em.execute(
      `select m.tenant, m.name from model m join version v on v.model_id = m.id
        group by m.id, m.tenant, m.name
        having count(v.ready_ms) = 0 and max(v.created_ms) <= ? order by m.id limit ?`,
      [Date.now() - keepMs, MAX_REMOVALS],
    ),
  )) as { tenant: string; name: string }[];
  let removed = 0;
  for (const { tenant, name } of due) {
    const done = await database.transaction(async (em) => {
      const model = await lockModel(em, tenant, name);
      return removeIfDue(em, model, source, keepMs);
    });
    if (!done) continue;
    removed++;
    logger.info({ tenant, model: name }, 'a model of which no version became ready was removed');
  }
  return removed;
}

/** @param model locked, so that no version is added meanwhile */
async function removeIfDue(
  em: EntityManager,
  model: Model,
  source: string,
  keepMs: number,
): Promise<boolean> {
  const dueMs = (await removalTimes(em, [model.id], keepMs)).get(model.id);
  if (dueMs === undefined || dueMs > Date.now()) return false;
  const found = await em.find(VersionEntity, { modelId: model.id }, { orderBy: { id: 'asc' } });
  const drafts: Version[] = [];
  for (const { id } of found) drafts.push(await lockVersion(em, id));
  // One may have been made READY, or be in use, before it was locked.
  if (drafts.some(({ readyMs }) => readyMs)) return false;
  const own = new Set(drafts.map((draft) => formatReference(draft.name, draft.version)));
  for (const draft of drafts) if ((await usesOf(em, draft)).some(({ user }) => !own.has(user))) return false;
  const author = { source, actor: `service:${source}` };
  for (const draft of drafts) {
    if (!draft.purgedMs) await announceChange(em, author, model, draft, 'purged', { detail: 'never ready' });
  }
  const { tenant, name, id, revision } = model;
  await em.upsert(RemovedModelEntity, { tenant, name, revision });
  const versionId = { $in: drafts.map((draft) => draft.id) };
  for (const draft of drafts) await forgetVersion(em, draft.id);
  await em.nativeDelete(VersionFileEntity, { versionId });
  await em.nativeDelete(VersionDatasetEntity, { versionId });
  await em.nativeDelete(VersionPromptEntity, { versionId });
  await em.nativeDelete(VersionCheckEntity, { versionId });
  await em.nativeDelete(VersionApprovalEntity, { versionId });
  await em.nativeDelete(VersionEntity, { modelId: id });
  await em.nativeDelete(AliasEntity, { modelId: id });
  await em.nativeDelete(RemovedAliasEntity, { modelId: id });
  await em.nativeDelete(ModelHistoryEntity, { modelId: id });
  await em.nativeDelete(ModelEntity, { id });
  return true;
}
