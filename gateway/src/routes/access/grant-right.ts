import { create } from '@bufbuild/protobuf';
import {
  type GrantRightRequest,
  type GrantRightResponse,
  GrantRightResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/access_service_pb.js';
import { keepWithinLimits } from '../../access/rule-limits.ts';
import type { OwnRoute } from '../../context.ts';
import { ResourceGrantSchema } from '../../db/access-entities.ts';
import { audit } from '../../domain/audit.ts';
import { grantReply } from '../../domain/grant-reply.ts';

/** Safe to repeat by its nature. */
export const grantRight: OwnRoute<GrantRightRequest, GrantRightResponse> =
  ({ database, callers }) =>
  async ({ resource, grantee, right }, caller) => {
    const { tenant, subject } = caller;
    const row = { tenant, resource, grantee, level: right, author: subject, createdMs: Date.now() };
    await database.transaction(async (em) => {
      await em.upsert(ResourceGrantSchema, row);
      await keepWithinLimits(em, tenant);
      await audit(em, caller, 'landfall.gateway.v1.AccessService/GrantRight', resource);
    });
    callers.forget();
    return create(GrantRightResponseSchema, { grant: grantReply(row) });
  };
