import { create } from '@bufbuild/protobuf';
import { notFound } from '@landfall/common/errors/errors.ts';
import {
  type GetContentPolicyRequest,
  type GetContentPolicyResponse,
  GetContentPolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { ActiveContentPolicySchema, ContentPolicySchema } from '../../db/content-entities.ts';
import { versionReply } from './version-reply.ts';

export const getContentPolicy: OwnRoute<GetContentPolicyRequest, GetContentPolicyResponse> =
  ({ database }) =>
  (request, { tenant }) =>
    database.read(async (em) => {
      const active = (await em.findOne(ActiveContentPolicySchema, { tenant }))?.version;
      const version = Number(request.version) || active;
      const kept = version && (await em.findOne(ContentPolicySchema, { tenant, version }));
      if (!kept)
        throw notFound(version ? `the content policy has no version ${version}` : 'no content policy is set');
      return create(GetContentPolicyResponseSchema, { version: versionReply(kept, active) });
    });
