import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Version, VersionDatasetEntity, VersionEntity } from '../db/entities.ts';
import { formatReference, parseReference } from './reference.ts';

/** More steps back than any version has; what is behind them is not looked at. */
const MAX_ORIGINS = 1000;

/** The versions that references (`models:/name/version`) name within the tenant; deleted ones too. */
export async function findByRefs(
  em: EntityManager,
  tenant: string,
  refs: readonly string[],
): Promise<Version[]> {
  const pairs = refs.flatMap((ref) => {
    const { name, version } = parseReference(ref, 'ref');
    return version === undefined ? [] : [{ name, version }];
  });
  return pairs.length === 0 ? [] : em.find(VersionEntity, { tenant, $or: pairs });
}

/** Everything that a version was made from, over any number of steps: bases, parents, data sets. */
export async function originsOf(em: EntityManager, start: Version): Promise<Version[]> {
  const found = new Map<string, Version>();
  for (let level = [start]; level.length > 0 && found.size < MAX_ORIGINS; ) {
    const datasets = await em.find(VersionDatasetEntity, { versionId: { $in: level.map(({ id }) => id) } });
    const refs = new Set([
      ...level.flatMap(({ base, parent }) => [base, parent]).filter((ref) => ref !== ''),
      ...datasets.map(({ ref }) => ref),
    ]);
    const origins = await findByRefs(em, start.tenant, [...refs]);
    level = origins.filter((version) => {
      const ref = formatReference(version.name, version.version);
      if (found.has(ref) || version.id === start.id) return false;
      found.set(ref, version);
      return true;
    });
  }
  return [...found.values()];
}
