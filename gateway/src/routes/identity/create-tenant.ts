import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { alreadyExists } from '@landfall/common/errors/errors.ts';
import {
  type CreateTenantRequest,
  CreateTenantRequestSchema,
  type CreateTenantResponse,
  CreateTenantResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { requireOperator } from '../../access/operator.ts';
import type { OwnRoute } from '../../context.ts';
import { TenantSchema } from '../../db/identity-entities.ts';
import { audit } from '../../domain/audit.ts';
import { tenantReply } from '../../domain/identity-replies.ts';
import { keyReply } from '../../domain/key-reply.ts';

const METHOD = 'landfall.gateway.v1.IdentityService/CreateTenant';

export const createTenant: OwnRoute<CreateTenantRequest, CreateTenantResponse> =
  ({ database, callers, keys }) =>
  async (request, caller) => {
    requireOperator(caller);
    const { name, displayName, requestId } = request;
    const call = {
      ...{ tenant: caller.tenant, method: METHOD, requestId },
      ...{ input: CreateTenantRequestSchema, output: CreateTenantResponseSchema },
    };
    let fresh = '';
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const tenant = { name, displayName, disabled: false, createdMs: Date.now() };
        if (await em.findOne(TenantSchema, { name })) throw alreadyExists(`there is a tenant ${name}`);
        await em.insert(TenantSchema, tenant);
        const draft = { tenant: name, name: 'first', role: Role.ADMIN, expiresMs: null };
        const { key, secret } = await keys.make(em, draft);
        await audit(em, caller, METHOD, `tenants/${name}`);
        fresh = secret;
        return create(CreateTenantResponseSchema, { tenant: tenantReply(tenant), key: keyReply(key) });
      }),
    );
    callers.forget();
    reply.secret = fresh;
    return reply;
  };
