import { create } from '@bufbuild/protobuf';
import {
  CreateVersionRequestSchema,
  CreateVersionResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Route } from '../context.ts';
import { createDraft } from '../domain/drafts.ts';
import { announceChange } from '../domain/events.ts';
import { lockModel } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { checkVersion } from '../domain/reference.ts';
import { versionReply } from '../domain/replies.ts';
import { readLabels, readLineage, readTags, readText } from '../domain/requests.ts';

export const createVersion: Route<'createVersion'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version, license } = request;
    const tags = readTags(request.tags);
    const description = readText('description', request.description);
    if (version !== '') checkVersion(version);
    const labels = readLabels(request.labels);
    const lineage = readLineage(request.lineage);
    const key = requestKey(tenant, CreateVersionRequestSchema, request);
    return answerOnce(database, key, CreateVersionResponseSchema, async (em) => {
      const model = await lockModel(em, tenant, name);
      const draft = await createDraft(em, model, {
        version,
        description,
        labels,
        license,
        tags,
        lineage,
        createdBy: subject,
      });
      await announceChange(em, { source: config.name, actor: subject }, model, draft, 'created');
      return create(CreateVersionResponseSchema, { version: await versionReply(em, draft) });
    });
  };
