import { create } from '@bufbuild/protobuf';
import {
  type PurgeCacheRequest,
  type PurgeCacheResponse,
  PurgeCacheResponseSchema,
} from '@landfall/proto/landfall/gateway/v1/cache_service_pb.js';
import { invalidate } from '../../cache/changes.ts';
import type { OwnRoute } from '../../context.ts';
import { audit } from '../../domain/audit.ts';

const METHOD = 'landfall.gateway.v1.CacheService/PurgeCache';

export const purgeCache: OwnRoute<PurgeCacheRequest, PurgeCacheResponse> =
  ({ database, cache }) =>
  async ({ model }, caller) => {
    const { tenant } = caller;
    // What was just made is on its way to the database: it is counted too.
    await cache.sync();
    const dropped = await database.transaction(async (em) => {
      await audit(em, caller, METHOD, `cached-answers/${model || '*'}`);
      return invalidate(em, { tenant, cause: 'purged', model });
    });
    await cache.refresh(tenant);
    return create(PurgeCacheResponseSchema, { dropped: BigInt(dropped) });
  };
