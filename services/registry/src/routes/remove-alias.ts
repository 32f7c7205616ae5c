import { create } from '@bufbuild/protobuf';
import { roleReaches } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import {
  RemoveAliasRequestSchema,
  RemoveAliasResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { removeAlias as takeAway } from '../domain/aliases.ts';
import { announceMove } from '../domain/events.ts';
import { lockModel } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { policyOf } from '../domain/policies.ts';
import { modelReply } from '../domain/replies.ts';
import { aliasIsProtected } from '../errors.ts';

export const removeAlias: LifeRoute<'removeAlias'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject, role } }) => {
    const { name, alias, expectedVersion } = request;
    const key = requestKey(tenant, RemoveAliasRequestSchema, request);
    return answerOnce(database, key, RemoveAliasResponseSchema, async (em) => {
      const model = await lockModel(em, tenant, name);
      if (!roleReaches(role, Role.ADMIN) && (await policyOf(em, tenant, name, alias))) {
        throw aliasIsProtected(alias);
      }
      const move = await takeAway(em, model, alias, expectedVersion);
      await announceMove(em, { source: config.name, actor: subject }, model, alias, move);
      return create(RemoveAliasResponseSchema, { model: await modelReply(em, model, config.keepEmptyMs) });
    });
  };
