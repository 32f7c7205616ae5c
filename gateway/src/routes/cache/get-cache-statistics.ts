import { create } from '@bufbuild/protobuf';
import {
  type GetCacheStatisticsRequest,
  type GetCacheStatisticsResponse,
  GetCacheStatisticsResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import type { OwnRoute } from '../../context.ts';

export const getCacheStatistics: OwnRoute<GetCacheStatisticsRequest, GetCacheStatisticsResponse> =
  ({ cache }) =>
  async (_request, { tenant }) =>
    create(GetCacheStatisticsResponseSchema, { statistics: await cache.statistics(tenant) });
