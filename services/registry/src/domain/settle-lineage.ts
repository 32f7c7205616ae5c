import type { EntityManager } from '@landfall/common/db/database.ts';
import { type Version, VersionDatasetEntity } from '../db/entities.ts';
import { lineageUnknown } from '../errors.ts';
import { holdVersions, resolveReference } from './find.ts';
import { formatReference, parseReference } from './reference.ts';

/**
 * Holds a draft's lineage against what is registered, and replaces aliases by the versions they point at now, since
 * an alias moves and history does not. Throws FAILED_PRECONDITION for what is not known, not READY, of the wrong
 * kind, or has another digest.
 */
export async function settleLineage(em: EntityManager, draft: Version): Promise<void> {
  if (draft.base !== '') {
    const base = await known(em, draft.tenant, draft.base, 'lineage.base');
    if (base.kind !== 'base') throw lineageUnknown(`the base '${draft.base}' is of kind ${base.kind}`);
    draft.base = formatReference(base.name, base.version);
  } else if (draft.kind === 'adapter') {
    throw lineageUnknown('an adapter needs its base; set lineage.base to models:/name/version');
  }
  if (draft.parent !== '') {
    const parent = await known(em, draft.tenant, draft.parent, 'lineage.parent');
    if (parent.kind === 'dataset') throw lineageUnknown(`the parent '${draft.parent}' is of kind dataset`);
    draft.parent = formatReference(parent.name, parent.version);
  }
  const datasets = await em.find(VersionDatasetEntity, { versionId: draft.id });
  for (const row of datasets) {
    const dataset = await known(em, draft.tenant, row.ref, `lineage.datasets[${row.position}].ref`);
    if (dataset.kind !== 'dataset')
      throw lineageUnknown(`the data set '${row.ref}' is of kind ${dataset.kind}`);
    if (row.digest !== '' && row.digest !== dataset.digest) {
      throw lineageUnknown(
        `the data set '${row.ref}' has the digest ${dataset.digest} and not ${row.digest}`,
      );
    }
    row.ref = formatReference(dataset.name, dataset.version);
    row.digest = dataset.digest;
  }
  await em.flush();
}

async function known(em: EntityManager, tenant: string, ref: string, field: string): Promise<Version> {
  const found = await resolveReference(em, tenant, parseReference(ref, field));
  if (!found) throw lineageUnknown(`there is no '${ref}'; register it first`);
  if (found.state !== 'ready') throw lineageUnknown(`'${ref}' is still a draft; commit it first`);
  const [version] = await holdVersions(em, [found]);
  if (!version || version.deletedMs) throw lineageUnknown(`'${ref}' is deleted; restore it, or name another`);
  return version;
}
