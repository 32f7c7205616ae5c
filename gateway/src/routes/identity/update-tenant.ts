import { create } from '@bufbuild/protobuf';
import { failedPrecondition, notFound } from '@landfall/common/errors/errors.ts';
import {
  type UpdateTenantRequest,
  type UpdateTenantResponse,
  UpdateTenantResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/identity_service_pb.js';
import { requireOperator } from '../../access/operator.ts';
import type { OwnRoute } from '../../context.ts';
import { TenantSchema } from '../../db/identity-entities.ts';
import { audit } from '../../domain/audit.ts';
import { tenantReply } from '../../domain/identity-replies.ts';
import { FIRST_TENANT } from '../../keys/key-store.ts';

/** Safe to repeat by its nature. */
export const updateTenant: OwnRoute<UpdateTenantRequest, UpdateTenantResponse> =
  ({ database, callers }) =>
  async ({ name, disabled }, caller) => {
    requireOperator(caller);
    if (name === FIRST_TENANT && disabled) {
      throw failedPrecondition(`${FIRST_TENANT} keeps the others: it can not be disabled`);
    }
    const row = await database.transaction(async (em) => {
      const found = await em.findOne(TenantSchema, { name });
      if (!found) throw notFound(`there is no tenant ${name}`);
      if (found.disabled !== disabled) {
        found.disabled = disabled;
        await audit(em, caller, 'landfall.gateway.v1.IdentityService/UpdateTenant', `tenants/${name}`);
      }
      return found;
    });
    callers.forget();
    return create(UpdateTenantResponseSchema, { tenant: tenantReply(row) });
  };
