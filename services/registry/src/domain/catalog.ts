import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  VersionCardEntity,
  VersionMetricEntity,
  VersionTagEntity,
  VersionTermEntity,
} from '../db/catalog-entities.ts';
import type { Version } from '../db/entities.ts';
import type { Description } from '../describe/describe.ts';
import { indexTerms } from './terms.ts';

const BATCH = 1000;

/**
 * Puts a READY version that its transaction holds into the catalog, in place of what was there: what its files say,
 * and the words, tags and metrics that it is found by. Its own licence goes before that of its README.md.
 */
export async function catalogVersion(
  em: EntityManager,
  version: Version,
  { facts, readme }: Description,
): Promise<void> {
  const { id: versionId, tenant, name, description, labels, metrics, method, base } = version;
  version.license ||= readme.license;
  version.tags = [...new Set([...version.tags, ...readme.tags])];
  version.described = true;
  await em.flush();
  await forgetVersion(em, versionId);
  await em.insert(VersionCardEntity, { versionId, facts, readme: readme.text });
  const labelTags = Object.entries(labels).map(([key, value]) => `${key}=${value}`.toLowerCase());
  const tags = [...new Set([...version.tags, ...labelTags])];
  const known = [name, description, version.license, method, base, ...tags, facts.model_type ?? ''];
  const terms = indexTerms([...known, readme.text]);
  for (let at = 0; at < terms.length; at += BATCH) {
    const rows = terms.slice(at, at + BATCH).map((term) => ({ tenant, term, versionId }));
    await em.insertMany(VersionTermEntity, rows);
  }
  if (tags.length > 0) {
    await em.insertMany(
      VersionTagEntity,
      tags.map((tag) => ({ tenant, tag, versionId })),
    );
  }
  const values = Object.entries(metrics).map(([metric, value]) => ({ versionId, metric, tenant, value }));
  if (values.length > 0) await em.insertMany(VersionMetricEntity, values);
}

/** Takes a version out of the catalog. */
export async function forgetVersion(em: EntityManager, versionId: string): Promise<void> {
  await em.nativeDelete(VersionCardEntity, { versionId });
  await em.nativeDelete(VersionTermEntity, { versionId });
  await em.nativeDelete(VersionTagEntity, { versionId });
  await em.nativeDelete(VersionMetricEntity, { versionId });
}
