import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { type Version, VersionEntity } from '../db/entities.ts';
import { type Description, describeFiles } from '../describe/describe.ts';
import { catalogVersion } from './catalog.ts';
import { versionFiles } from './commit.ts';
import { lockVersion } from './find.ts';
import { formatReference } from './reference.ts';
import { storedFile } from './stored-file.ts';

const BATCH = 20;
const NOTHING: Description = { facts: {}, readme: { text: '', license: '', tags: [] } };

/** Puts READY versions from before there was a catalog into it, some at a time. Returns how many. */
export async function describeOlder(
  database: Database,
  artifacts: ArtifactStore,
  logger: Logger,
): Promise<number> {
  const versions = await database.read((em) =>
    em.find(VersionEntity, { described: false, state: 'ready', purgedMs: null }, { limit: BATCH }),
  );
  for (const version of versions) {
    const description = await describe(version, database, artifacts).catch((error: unknown) => {
      // Lost or changed content is told to whoever downloads it; the rest of the version is still to be found.
      const ref = formatReference(version.name, version.version);
      logger.warn(
        { err: error, tenant: version.tenant, version: ref },
        'the files of a version can not be read',
      );
      return NOTHING;
    });
    await database.transaction(async (em) => {
      const locked = await lockVersion(em, version.id);
      if (!locked.described) await catalogVersion(em, locked, description);
    });
  }
  return versions.length;
}

async function describe(
  version: Version,
  database: Database,
  artifacts: ArtifactStore,
): Promise<Description> {
  const files = await database.read((em) => versionFiles(em, version.id));
  return describeFiles(
    version.kind,
    files.map((file) => storedFile(artifacts, file)),
  );
}
