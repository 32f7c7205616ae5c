import { create } from '@bufbuild/protobuf';
import {
  ApproveVersionRequestSchema,
  ApproveVersionResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { approvalReply, approvalsOf, approve } from '../domain/checks.ts';
import { announceChange } from '../domain/events.ts';
import { lockReady } from '../domain/find.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { readText } from '../domain/requests.ts';

export const approveVersion: LifeRoute<'approveVersion'> =
  ({ config, database }) =>
  async (request, { identity: { tenant, subject } }) => {
    const { name, version, alias } = request;
    const detail = readText('comment', request.comment);
    const key = requestKey(tenant, ApproveVersionRequestSchema, request);
    return answerOnce(database, key, ApproveVersionResponseSchema, async (em) => {
      const found = await lockReady(em, tenant, name, version);
      if (await approve(em, found.version, alias, subject, detail)) {
        const author = { source: config.name, actor: subject };
        await announceChange(em, author, found.model, found.version, 'approved', { detail, alias });
      }
      const approvals = await approvalsOf(em, found.version.id, alias);
      return create(ApproveVersionResponseSchema, { approvals: approvals.map(approvalReply) });
    });
  };
