import { create } from '@bufbuild/protobuf';
import {
  RemoveAliasPolicyRequestSchema,
  RemoveAliasPolicyResponseSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { LifeRoute } from '../context.ts';
import { answerOnce, requestKey } from '../domain/idempotency.ts';
import { removePolicy } from '../domain/policies.ts';

export const removeAliasPolicy: LifeRoute<'removeAliasPolicy'> =
  ({ database }) =>
  async (request, { identity: { tenant } }) => {
    const { name, alias } = request;
    const key = requestKey(tenant, RemoveAliasPolicyRequestSchema, request);
    return answerOnce(database, key, RemoveAliasPolicyResponseSchema, async (em) => {
      await removePolicy(em, tenant, name, alias);
      return create(RemoveAliasPolicyResponseSchema);
    });
  };
