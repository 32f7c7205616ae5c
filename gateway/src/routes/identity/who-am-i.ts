import { create } from '@bufbuild/protobuf';
import {
  type WhoAmIRequest,
  type WhoAmIResponse,
  WhoAmIResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { allowanceOfCaller } from '../../access/within.ts';
import type { OwnRoute } from '../../context.ts';

export const whoAmI: OwnRoute<WhoAmIRequest, WhoAmIResponse> = () => async (_request, caller) => {
  const { subject, tenant, roles = [], groups = [], keyId = '' } = caller;
  const { levels } = allowanceOfCaller(caller);
  return create(WhoAmIResponseSchema, {
    ...{ subject, tenant, roles: [...roles], groups: [...groups], levels, keyId },
  });
};
