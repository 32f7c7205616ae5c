import { create, getOption } from '@bufbuild/protobuf';
import { notFound } from '@landfall/common/errors/errors.ts';
import { roleReaches } from '@landfall/common/identity/identity.ts';
import {
  type WhyAllowedRequest,
  type WhyAllowedResponse,
  WhyAllowedResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { AdminRoute } from '../context.ts';
import { publicMethods } from '../edge/services.ts';

export const whyAllowed: AdminRoute<WhyAllowedRequest, WhyAllowedResponse> =
  () => async (request, caller) => {
    const method = publicMethods.get(request.method.replace(/^\//, ''));
    if (!method) throw notFound('no such method behind this gateway; write package.Service/Method');
    const needed = getOption(method, roleOption);
    const role = request.role || caller.role;
    const allowed = roleReaches(role, needed);
    const [has, wants] = [Role[role], Role[needed]].map((name) => name?.toLowerCase());
    const reason = `${request.method} needs the role ${wants}; ${has} ${allowed ? 'reaches' : 'does not reach'} it (viewer < invoker < editor < admin)`;
    return create(WhyAllowedResponseSchema, { allowed, reason });
  };
