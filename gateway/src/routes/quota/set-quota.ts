import { create } from '@bufbuild/protobuf';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  type SetQuotaRequest,
  type SetQuotaResponse,
  SetQuotaResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/quota_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import type { OwnRoute } from '../../context.ts';
import { QuotaSchema } from '../../db/quota-entities.ts';
import { audit } from '../../domain/audit.ts';
import { MOST_ROWS, quotaReply } from './replies.ts';

const METHOD = 'landfall.gateway.v1.QuotaService/SetQuota';

export const setQuota: OwnRoute<SetQuotaRequest, SetQuotaResponse> =
  ({ database, quotas }) =>
  async (request, caller) => {
    const { tenant } = caller;
    const { subject, model, ...asked } = request.quota!;
    const bounds = {
      requestsPerMinute: Number(asked.requestsPerMinute),
      tokensPerMinute: Number(asked.tokensPerMinute),
      concurrentRequests: Number(asked.concurrentRequests),
      tokensPerMonth: Number(asked.tokensPerMonth),
      microsPerMonth: Number(asked.microsPerMonth),
    };
    const key = { tenant, subject, model };
    const row = await database.transaction(async (em) => {
      const before = await em.findOne(QuotaSchema, key);
      if (!before && (await em.count(QuotaSchema, { tenant })) >= MOST_ROWS)
        throw failedPrecondition(`a tenant has at most ${MOST_ROWS} quotas; take one away first`);
      await audit(em, caller, METHOD, `quotas/${subject || '*'}/${model || '*'}`);
      const row = { ...key, ...bounds, id: before?.id ?? uuidv7(), revision: (before?.revision ?? 0) + 1 };
      if (Object.values(bounds).some((bound) => bound > 0)) await em.upsert(QuotaSchema, row);
      else await em.nativeDelete(QuotaSchema, key);
      return row;
    });
    quotas.forget(tenant);
    return create(SetQuotaResponseSchema, { quota: quotaReply(row) });
  };
