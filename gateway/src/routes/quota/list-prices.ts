import { create } from '@bufbuild/protobuf';
import {
  type ListPricesRequest,
  type ListPricesResponse,
  ListPricesResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/quota_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import { PriceSchema } from '../../db/quota-entities.ts';
import { priceReply } from './replies.ts';

export const listPrices: OwnRoute<ListPricesRequest, ListPricesResponse> =
  ({ database }) =>
  async (_request, { tenant }) => {
    const rows = await database.read((em) => em.find(PriceSchema, { tenant }, { orderBy: { model: 'asc' } }));
    return create(ListPricesResponseSchema, { prices: rows.map(priceReply) });
  };
