import type { EntityManager } from '@landfall/common/db/database.ts';
import { VersionCardEntity } from '../db/catalog-entities.ts';
import { type Version, VersionFileEntity } from '../db/entities.ts';
import { versionIsDeleted, versionNotFound } from '../errors.ts';
import { resolveReference } from './find.ts';
import type { ManifestFile } from './manifest.ts';
import { formatReference, parseReference } from './reference.ts';

export type Cell = { value?: number; difference?: number };
export type Comparison = {
  versions: Version[];
  metrics: { metric: string; cells: Cell[] }[];
  facts: { fact: string; values: string[] }[];
  files: FileDifference[];
};
export type FileDifference = {
  ref: string;
  added: string[];
  removed: string[];
  changed: string[];
  sharedBytes: bigint;
  ownBytes: bigint;
};

/** Versions side by side, the others held against the first. Throws NOT_FOUND, INVALID_ARGUMENT. */
export async function compareVersions(
  em: EntityManager,
  tenant: string,
  refs: readonly string[],
): Promise<Comparison> {
  const versions: Version[] = [];
  for (const [index, ref] of refs.entries()) {
    const parsed = parseReference(ref, `refs[${index}]`);
    const version = await resolveReference(em, tenant, parsed);
    if (!version) throw versionNotFound(parsed.name, parsed.version ?? `@${parsed.alias}`);
    if (version.deletedMs) throw versionIsDeleted(version);
    versions.push(version);
  }
  const ids = versions.map(({ id }) => id);
  const rows = await em.find(VersionFileEntity, { versionId: { $in: ids } });
  const filesOf = (id: string) => rows.filter(({ versionId }) => versionId === id);
  const cards = await em.find(VersionCardEntity, { versionId: { $in: ids } });
  const [first, ...others] = versions;
  return {
    versions,
    metrics: compareMetrics(versions),
    facts: compareFacts(
      versions.map((version) => ({
        ...cards.find(({ versionId }) => versionId === version.id)?.facts,
        base: version.base,
        license: version.license,
        method: version.method,
        stage: version.stage,
      })),
    ),
    files: others.map((other) => ({
      ref: formatReference(other.name, other.version),
      ...compareFiles(filesOf(first!.id), filesOf(other.id)),
    })),
  };
}

function compareMetrics(versions: readonly Version[]): Comparison['metrics'] {
  const names = [...new Set(versions.flatMap(({ metrics }) => Object.keys(metrics)))].sort();
  return names.map((metric) => {
    const reference = versions[0]!.metrics[metric];
    const cells = versions.map(({ metrics }): Cell => {
      const value = metrics[metric];
      if (value === undefined) return {};
      return { value, ...(reference !== undefined && { difference: value - reference }) };
    });
    return { metric, cells };
  });
}

function compareFacts(facts: readonly Record<string, string>[]): Comparison['facts'] {
  const names = [...new Set(facts.flatMap((one) => Object.keys(one)))].sort();
  return names
    .map((fact) => ({ fact, values: facts.map((one) => one[fact] ?? '') }))
    .filter(({ values }) => new Set(values).size > 1);
}

/** How files stand to those of a first version: by path, and by content whatever its path. */
export function compareFiles(
  first: readonly ManifestFile[],
  other: readonly ManifestFile[],
): Omit<FileDifference, 'ref'> {
  const digests = new Map(first.map(({ path, digest }) => [path, digest]));
  const paths = new Set(other.map(({ path }) => path));
  const held = new Set(first.map(({ digest }) => digest));
  const contents = new Map(other.map(({ digest, sizeBytes }) => [digest, BigInt(sizeBytes)]));
  let [sharedBytes, ownBytes] = [0n, 0n];
  for (const [digest, bytes] of contents) {
    if (held.has(digest)) sharedBytes += bytes;
    else ownBytes += bytes;
  }
  return {
    added: other
      .filter(({ path }) => !digests.has(path))
      .map(({ path }) => path)
      .sort(),
    removed: [...digests.keys()].filter((path) => !paths.has(path)).sort(),
    changed: other
      .filter(({ path, digest }) => digests.has(path) && digests.get(path) !== digest)
      .map(({ path }) => path)
      .sort(),
    sharedBytes,
    ownBytes,
  };
}
