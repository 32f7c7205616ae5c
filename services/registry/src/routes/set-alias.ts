import { create } from '@bufbuild/protobuf';
import {
  SetAliasRequestSchema,
  SetAliasResponseSchema,
} from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Route } from '../context.ts';
import { moveAlias } from '../domain/aliases.ts';
import { announceMove } from '../domain/events.ts';
import { lockModel } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { modelReply } from '../domain/replies.ts';

export const setAlias: Route<'setAlias'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, alias, version, expectedVersion } = request;
    const key = requestKey(tenant, SetAliasRequestSchema, request);
    return answerOnce(database, key, SetAliasResponseSchema, async (em) => {
      const model = await lockModel(em, tenant, name);
      const move = await moveAlias(em, model, alias, version, expectedVersion);
      if (move) await announceMove(em, { source: config.name, actor: subject }, model, alias, move);
      return create(SetAliasResponseSchema, { model: await modelReply(em, model, config.keepEmptyMs) });
    });
  };
