import { create } from '@bufbuild/protobuf';
import {
  SetAliasPolicyRequestSchema,
  SetAliasPolicyResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { policyReply, setPolicy } from '../domain/policies.ts';

export const setAliasPolicy: LifeRoute<'setAliasPolicy'> =
  ({ database }) =>
  async (request, { identity: { tenant } }) => {
    const key = requestKey(tenant, SetAliasPolicyRequestSchema, request);
    return answerOnce(database, key, SetAliasPolicyResponseSchema, async (em) => {
      const row = await setPolicy(em, tenant, request.policy!);
      return create(SetAliasPolicyResponseSchema, { policy: policyReply(row) });
    });
  };
