import { create } from '@bufbuild/protobuf';
import {
  type ListQuotasRequest,
  type ListQuotasResponse,
  ListQuotasResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/quota_service_pb.js';
import type { OwnRoute } from '../../context.ts';
import type { QuotaCounter } from '../../quota/quota-counter.ts';
import { quotaReply } from './replies.ts';

export const listQuotas: OwnRoute<ListQuotasRequest, ListQuotasResponse> =
  ({ quotas }) =>
  async (_request, { tenant }) => {
    quotas.forget(tenant);
    const { counters } = await quotas.of(tenant);
    return create(ListQuotasResponseSchema, {
      items: [...counters].sort(bySubjectAndModel).map((counter) => ({
        quota: quotaReply(counter.quota),
        usage: {
          requestsThisMinute: BigInt(counter.minute.sum('requests')),
          tokensThisMinute: BigInt(counter.minute.sum('tokens')),
          requestsInFlight: BigInt(counter.inFlight + counter.othersInFlight),
          tokensThisMonth: BigInt(counter.month.sum('tokens')),
          microsThisMonth: BigInt(counter.month.sum('micros')),
        },
      })),
    });
  };

function bySubjectAndModel({ quota: a }: QuotaCounter, { quota: b }: QuotaCounter): number {
  const [left, right] = [`${a.subject}\n${a.model}`, `${b.subject}\n${b.model}`];
  return left < right ? -1 : Number(left > right);
}
