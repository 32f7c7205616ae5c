import { create } from '@bufbuild/protobuf';
import {
  SetStageRequestSchema,
  SetStageResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { announceChange } from '../domain/events.ts';
import { lockReady } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { versionReply } from '../domain/replies.ts';
import { readText } from '../domain/requests.ts';
import { stageName } from '../domain/stage-names.ts';
import { changeStage } from '../domain/stages.ts';

export const setStage: LifeRoute<'setStage'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version } = request;
    const reason = readText('reason', request.reason);
    const key = requestKey(tenant, SetStageRequestSchema, request);
    return answerOnce(database, key, SetStageResponseSchema, async (em) => {
      const found = await lockReady(em, tenant, name, version);
      if (await changeStage(em, found.version, stageName(request.stage)!)) {
        const author = { source: config.name, actor: subject };
        await announceChange(em, author, found.model, found.version, 'staged', { detail: reason });
      }
      return create(SetStageResponseSchema, { version: await versionReply(em, found.version) });
    });
  };
