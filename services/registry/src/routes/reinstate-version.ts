import { create } from '@bufbuild/protobuf';
import {
  ReinstateVersionRequestSchema,
  ReinstateVersionResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { announceChange } from '../domain/events.ts';
import { lockReady } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { versionReply } from '../domain/replies.ts';
import { readText } from '../domain/requests.ts';
import { reinstate } from '../domain/stages.ts';

export const reinstateVersion: LifeRoute<'reinstateVersion'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version } = request;
    const reason = readText('reason', request.reason);
    const key = requestKey(tenant, ReinstateVersionRequestSchema, request);
    return answerOnce(database, key, ReinstateVersionResponseSchema, async (em) => {
      const found = await lockReady(em, tenant, name, version);
      if (await reinstate(em, found.version)) {
        const author = { source: config.name, actor: subject };
        await announceChange(em, author, found.model, found.version, 'reinstated', { detail: reason });
      }
      return create(ReinstateVersionResponseSchema, { version: await versionReply(em, found.version) });
    });
  };
