import type { MessageInitShape } from '@bufbuild/protobuf';
import type { PriceSchema, QuotaSchema } from '@landfall/proto/landfall/gateway/v1/quota_pb.js';
import type { PriceRow, QuotaRow } from '../../db/quota-entities.ts';

/** Most quotas, and most prices, of a tenant. */
export const MOST_ROWS = 1000;

/** A quota as callers see it. */
export function quotaReply(row: QuotaRow): MessageInitShape<typeof QuotaSchema> {
  return {
    subject: row.subject,
    model: row.model,
    requestsPerMinute: BigInt(row.requestsPerMinute),
    tokensPerMinute: BigInt(row.tokensPerMinute),
    concurrentRequests: BigInt(row.concurrentRequests),
    tokensPerMonth: BigInt(row.tokensPerMonth),
    microsPerMonth: BigInt(row.microsPerMonth),
    revision: BigInt(row.revision),
  };
}

/** A price as callers see it. */
export function priceReply(row: PriceRow): MessageInitShape<typeof PriceSchema> {
  return {
    model: row.model,
    inputMicros: BigInt(row.inputMicros),
    cachedInputMicros: BigInt(row.cachedInputMicros),
    outputMicros: BigInt(row.outputMicros),
  };
}
