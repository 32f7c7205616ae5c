import { create } from '@bufbuild/protobuf';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  type SetPriceRequest,
  type SetPriceResponse,
  SetPriceResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/quota_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { PriceSchema } from '../../db/quota-entities.ts';
import { audit } from '../../domain/audit.ts';
import { MOST_ROWS, priceReply } from './replies.ts';

const METHOD = 'landfall.gateway.v1.QuotaService/SetPrice';

export const setPrice: OwnRoute<SetPriceRequest, SetPriceResponse> =
  ({ database, quotas }) =>
  async (request, caller) => {
    const { tenant } = caller;
    const { model, inputMicros, cachedInputMicros, outputMicros } = request.price!;
    const row = {
      ...{ tenant, model, inputMicros: Number(inputMicros) },
      ...{ cachedInputMicros: Number(cachedInputMicros), outputMicros: Number(outputMicros) },
    };
    await database.transaction(async (em) => {
      const known = await em.count(PriceSchema, { tenant, model });
      if (known === 0 && (await em.count(PriceSchema, { tenant })) >= MOST_ROWS)
        throw failedPrecondition(`a tenant has at most ${MOST_ROWS} prices`);
      await em.upsert(PriceSchema, row);
      await audit(em, caller, METHOD, `prices/${model}`);
    });
    quotas.forget(tenant);
    return create(SetPriceResponseSchema, { price: priceReply(row) });
  };
