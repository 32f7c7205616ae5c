import { isDeepStrictEqual } from 'node:util';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { Lineage } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type Version, VersionDatasetEntity, VersionFileEntity } from '../db/entities.ts';
import { VersionPromptEntity } from '../db/life-entities.ts';
import { draftChanged, draftIsEmpty, versionIsDeleted, versionIsReady } from '../errors.ts';
import { setLineage } from './drafts.ts';
import { lockVersion } from './find.ts';
import { type ManifestFile, manifestDigest, sortFiles } from './manifest.ts';
import { formatReference } from './reference.ts';
import { settleLineage } from './settle-lineage.ts';

/** What a commit says besides which draft it means. */
export type CommitClaims = {
  metrics: Record<string, number>;
  lineage: Lineage | undefined;
  /** The files must be exactly these, when given. */
  files: readonly ManifestFile[] | undefined;
};

/** A version's files, sorted by path. */
export async function versionFiles(em: EntityManager, versionId: string): Promise<ManifestFile[]> {
  const rows = await em.find(VersionFileEntity, { versionId });
  return sortFiles(rows.map(({ path, digest, sizeBytes }) => ({ path, digest, sizeBytes })));
}

/** Throws FAILED_PRECONDITION when a draft has no files, or others than the commit names. */
export function checkFilesAsClaimed(
  version: Version,
  files: readonly ManifestFile[],
  claims: CommitClaims,
): void {
  const ref = formatReference(version.name, version.version);
  if (files.length === 0) throw draftIsEmpty(ref);
  if (claims.files === undefined) return;
  const claimed = new Map(claims.files.map((file) => [file.path, file]));
  const problems = [
    ...files.filter(({ path }) => !claimed.has(path)).map(({ path }) => `'${path}' is not in the manifest`),
    ...claims.files.flatMap(({ path, digest, sizeBytes }) => {
      const file = files.find((candidate) => candidate.path === path);
      if (!file) return [`'${path}' was not uploaded`];
      if (file.digest !== digest) return [`'${path}' has the digest ${file.digest}`];
      return file.sizeBytes === sizeBytes ? [] : [`'${path}' has ${file.sizeBytes} bytes`];
    }),
  ];
  if (problems.length > 0) {
    throw failedPrecondition(
      `${ref} does not hold the files of the manifest: ${problems.slice(0, 20).join('; ')}`,
      {
        reason: 'MANIFEST_MISMATCH',
      },
    );
  }
}

/**
 * Makes a draft READY within a transaction that holds its model. `inspected` are the files that were checked before it; when others have
 * come since, the commit is ABORTED. Returns whether the version became READY here: it may be READY already by a
 * commit that says the same, and then nothing happens.
 */
export async function makeReady(
  em: EntityManager,
  versionId: string,
  inspected: readonly ManifestFile[],
  claims: CommitClaims,
): Promise<{ version: Version; became: boolean }> {
  const version = await lockVersion(em, versionId);
  const ref = formatReference(version.name, version.version);
  const files = await versionFiles(em, versionId);
  if (version.deletedMs) throw versionIsDeleted(version);
  if (version.state === 'ready') {
    if (!(await saysTheSame(em, version, files, claims))) throw versionIsReady(ref);
    return { version, became: false };
  }
  if (!isDeepStrictEqual(files, inspected)) throw draftChanged(ref);
  if (claims.lineage) await setLineage(em, version, claims.lineage);
  await settleLineage(em, version);
  version.metrics = claims.metrics;
  version.digest = manifestDigest(files);
  version.state = 'ready';
  version.readyMs = Date.now();
  await em.flush();
  return { version, became: true };
}

/** Whether a commit of a READY version asks for what is there; what it leaves out, it doesn't ask for. */
export async function saysTheSame(
  em: EntityManager,
  version: Version,
  files: readonly ManifestFile[],
  claims: CommitClaims,
): Promise<boolean> {
  if (claims.files && manifestDigest(claims.files) !== manifestDigest(files)) return false;
  const metrics = Object.entries(claims.metrics);
  if (metrics.length > 0 && !isDeepStrictEqual(new Map(metrics), new Map(Object.entries(version.metrics))))
    return false;
  if (!claims.lineage) return true;
  const { base, parent, jobId, method, datasets, prompts, source } = claims.lineage;
  if (parent !== version.parent || source !== version.source) return false;
  if (base !== version.base || jobId !== version.jobId || method !== version.method) return false;
  const order = { orderBy: { position: 'asc' } } as const;
  const used = await em.find(VersionPromptEntity, { versionId: version.id }, order);
  const samePrompts =
    used.length === prompts.length &&
    used.every(({ ref, role }, index) => ref === prompts[index]!.ref && role === prompts[index]!.role);
  if (!samePrompts) return false;
  const rows = await em.find(VersionDatasetEntity, { versionId: version.id }, order);
  return (
    rows.length === datasets.length &&
    rows.every((row, index) => {
      const { ref, digest, role } = datasets[index]!;
      return row.ref === ref && row.role === role && (digest === '' || row.digest === digest);
    })
  );
}
