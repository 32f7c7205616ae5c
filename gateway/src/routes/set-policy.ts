import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  type SetPolicyRequest,
  SetPolicyRequestSchema,
  type SetPolicyResponse,
  SetPolicyResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import type { OwnRoute } from '../context.ts';
import { TenantPolicySchema } from '../db/entities.ts';
import { audit } from '../domain/audit.ts';

const METHOD = 'landfall.gateway.v1.AdminService/SetPolicy';

export const setPolicy: OwnRoute<SetPolicyRequest, SetPolicyResponse> =
  ({ database, policies }) =>
  async (request, caller) => {
    const { tenant } = caller;
    const { requestsPerMinute, concurrentRequests } = request.policy!;
    const call = {
      tenant,
      method: METHOD,
      requestId: request.requestId,
      input: SetPolicyRequestSchema,
      output: SetPolicyResponseSchema,
    };
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const before = await em.findOne(TenantPolicySchema, { tenant });
        const revision = (before?.revision ?? 0) + 1;
        await em.upsert(TenantPolicySchema, { tenant, requestsPerMinute, concurrentRequests, revision });
        await audit(em, caller, METHOD, 'policy');
        return create(SetPolicyResponseSchema, {
          policy: { requestsPerMinute, concurrentRequests, revision: BigInt(revision) },
        });
      }),
    );
    policies.forget(tenant);
    return reply;
  };
