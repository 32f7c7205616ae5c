import { create } from '@bufbuild/protobuf';
import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import {
  type SearchAuditRequest,
  type SearchAuditResponse,
  SearchAuditResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import type { AdminRoute } from '../context.ts';
import { AuditEntrySchema } from '../db/entities.ts';
import { afterId, page, pageSize } from '../domain/pages.ts';

export const searchAudit: AdminRoute<SearchAuditRequest, SearchAuditResponse> =
  ({ database }) =>
  async (request, { tenant }) => {
    const size = pageSize(request.pageSize);
    const after = afterId(request.pageToken);
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
    const { rows, nextPageToken } = page(found, size);
    const entries = rows.map(({ timeMs, ...entry }) => ({ ...entry, time: timestampFromMs(timeMs) }));
    return create(SearchAuditResponseSchema, { entries, nextPageToken });
  };
