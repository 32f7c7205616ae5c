import { BatchState } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { batchReply, hasEnded, lockBatch } from '../../batch/batch-store.ts';
import type { InspectionRoute } from '../../context.ts';

export const cancelBatch: InspectionRoute<'cancelBatch'> =
  ({ database, batches, changes }) =>
  async ({ id }, { identity }) => {
    const reply = await database.transaction(async (em) => {
      const row = await lockBatch(em, identity.tenant, id);
      if (!hasEnded(row)) {
        Object.assign(row, { state: BatchState.CANCELLED, owner: '', leaseMs: 0, endedMs: Date.now() });
        await em.flush();
      }
      return { batch: batchReply(row) };
    });
    batches.interrupt(id);
    changes.touch(id);
    return reply;
  };
