import { create } from '@bufbuild/protobuf';
import {
  CommitVersionRequestSchema,
  CommitVersionResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Route } from '../context.ts';
import { type Description, describeFiles } from '../describe/describe.ts';
import { catalogVersion } from '../domain/catalog.ts';
import { type CommitClaims, checkFilesAsClaimed, makeReady, versionFiles } from '../domain/commit.ts';
import { announceReady } from '../domain/events.ts';
import { findVersion, lockModel } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { checkVersion } from '../domain/reference.ts';
import { versionReply } from '../domain/replies.ts';
import { readLineage, readManifest, readMetrics } from '../domain/requests.ts';
import { storedFile } from '../domain/stored-file.ts';
import { inspectVersion } from '../inspect/inspect.ts';

export const commitVersion: Route<'commitVersion'> =
  ({ artifacts, config, database }) =>
  async (request, { identity: { tenant, subject }, signal }) => {
    const { name } = request;
    const claims: CommitClaims = {
      metrics: readMetrics(request.metrics),
      lineage: readLineage(request.lineage),
      files: readManifest(request.manifest),
    };
    const { version, files } = await database.read(async (em) => {
      const found = await findVersion(em, tenant, name, checkVersion(request.version));
      return { version: found, files: await versionFiles(em, found.id) };
    });
    // The checks read files and take their time: they come before the transaction, which then makes sure that it
    // commits the files that were checked.
    let description: Description | undefined;
    if (version.state === 'draft') {
      checkFilesAsClaimed(version, files, claims);
      const stored = files.map((file) => storedFile(artifacts, file));
      const summary = await inspectVersion(version.kind, stored, signal);
      description = await describeFiles(version.kind, stored, summary);
    }
    const key = requestKey(tenant, CommitVersionRequestSchema, request);
    return answerOnce(database, key, CommitVersionResponseSchema, async (em) => {
      const model = await lockModel(em, tenant, name);
      const { version: ready, became } = await makeReady(em, version.id, files, claims);
      if (became && description) await catalogVersion(em, ready, description);
      if (became) await announceReady(em, { source: config.name, actor: subject }, model, ready);
      return create(CommitVersionResponseSchema, { version: await versionReply(em, ready) });
    });
  };
