import { batchReply, findBatch } from '../../batch/batch-store.ts';
import type { InspectionRoute } from '../../context.ts';

export const getBatch: InspectionRoute<'getBatch'> =
  ({ database }) =>
  ({ id }, { identity }) =>
    database.read(async (em) => ({ batch: batchReply(await findBatch(em, identity.tenant, id)) }));
