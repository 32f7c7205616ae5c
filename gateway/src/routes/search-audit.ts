import { create } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import {
  type SearchAuditRequest,
  type SearchAuditResponse,
  SearchAuditResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import type { OwnRoute } from '../context.ts';
import { AuditEntrySchema } from '../db/audit-entities.ts';

export const searchAudit: OwnRoute<SearchAuditRequest, SearchAuditResponse> =
  ({ database, audit }) =>
  async (request, { tenant }) => {
    await audit.index.caughtUp();
    const size = pageSize(request.pageSize);
    const after = afterKey(request.pageToken, UUID);
    const { subject, resource, from, to } = request;
    const time = { ...(from ? { $gte: timestampMs(from) } : {}), ...(to ? { $lt: timestampMs(to) } : {}) };
    const where = {
      tenant,
      ...(after ? { id: { $lt: after } } : {}),
      ...(subject ? { subject } : {}),
      ...(resource ? { resource } : {}),
      ...(from || to ? { timeMs: time } : {}),
    };
    const found = await database.read((em) =>
      em.find(AuditEntrySchema, where, { orderBy: { id: 'desc' }, limit: size + 1 }),
    );
    const { rows, nextPageToken } = page(found, size, ({ id }) => id);
    const entries = rows.map(({ timeMs, request, response, policy, seq, ...entry }) => ({
      ...entry,
      time: timestampFromMs(timeMs),
      requestDigest: request,
      responseDigest: response,
      policyVersion: policy,
      sequence: BigInt(seq ?? 0),
    }));
    return create(SearchAuditResponseSchema, { entries, nextPageToken });
  };
