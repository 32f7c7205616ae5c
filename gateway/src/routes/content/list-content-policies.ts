import { create } from '@bufbuild/protobuf';
import { pageSize } from '@landfall/common/rpc/pages.ts';
import {
  type ListContentPoliciesRequest,
  type ListContentPoliciesResponse,
  ListContentPoliciesResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { ActiveContentPolicySchema, ContentPolicySchema } from '../../db/content-entities.ts';
import { versionReply } from './version-reply.ts';

export const listContentPolicies: OwnRoute<ListContentPoliciesRequest, ListContentPoliciesResponse> =
  ({ database }) =>
  ({ pageSize: asked, beforeVersion }, { tenant }) =>
    database.read(async (em) => {
      const active = (await em.findOne(ActiveContentPolicySchema, { tenant }))?.version;
      const below = beforeVersion > 0n ? { version: { $lt: Number(beforeVersion) } } : {};
      const kept = await em.find(
        ContentPolicySchema,
        { tenant, ...below },
        { orderBy: { version: 'desc' }, limit: pageSize(asked) },
      );
      return create(ListContentPoliciesResponseSchema, {
        versions: kept.map((one) => versionReply(one, active)),
      });
    });
