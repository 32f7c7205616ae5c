import { create } from '@bufbuild/protobuf';
import {
  DeleteVersionRequestSchema,
  DeleteVersionResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { markDeleted } from '../domain/deletion.ts';
import { announceChange } from '../domain/events.ts';
import { lockModelVersion } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { versionReply } from '../domain/replies.ts';
import { readText } from '../domain/requests.ts';

export const deleteVersion: LifeRoute<'deleteVersion'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version } = request;
    const reason = readText('reason', request.reason);
    const key = requestKey(tenant, DeleteVersionRequestSchema, request);
    return answerOnce(database, key, DeleteVersionResponseSchema, async (em) => {
      const found = await lockModelVersion(em, tenant, name, version, true);
      if (await markDeleted(em, found.version, config.keepDeletedMs)) {
        const author = { source: config.name, actor: subject };
        await announceChange(em, author, found.model, found.version, 'deleted', { detail: reason });
      }
      return create(DeleteVersionResponseSchema, { version: await versionReply(em, found.version) });
    });
  };
