import { create } from '@bufbuild/protobuf';
import {
  RestoreVersionRequestSchema,
  RestoreVersionResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { unmarkDeleted } from '../domain/deletion.ts';
import { announceChange } from '../domain/events.ts';
import { lockModelVersion } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { versionReply } from '../domain/replies.ts';
import { readText } from '../domain/requests.ts';

export const restoreVersion: LifeRoute<'restoreVersion'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version } = request;
    const reason = readText('reason', request.reason);
    const key = requestKey(tenant, RestoreVersionRequestSchema, request);
    return answerOnce(database, key, RestoreVersionResponseSchema, async (em) => {
      const found = await lockModelVersion(em, tenant, name, version, true);
      if (await unmarkDeleted(em, found.version)) {
        const author = { source: config.name, actor: subject };
        await announceChange(em, author, found.model, found.version, 'restored', { detail: reason });
      }
      return create(RestoreVersionResponseSchema, { version: await versionReply(em, found.version) });
    });
  };
