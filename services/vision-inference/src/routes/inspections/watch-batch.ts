import { batchReply, findBatch, hasEnded } from '../../batch/batch-store.ts';
import type { InspectionRoute } from '../../context.ts';

export const watchBatch: InspectionRoute<'watchBatch'> = ({ database, changes, stopping }) =>
  async function* ({ id }, { identity, signal }) {
    const over = AbortSignal.any([signal, stopping]);
    let sent = '';
    while (!over.aborted) {
      const next = changes.next(id, over);
      const row = await database.read((em) => findBatch(em, identity.tenant, id));
      // Leases are renewed too: what a watcher sees is progress.
      const seen = JSON.stringify([row.state, row.total, row.done, row.failed]);
      if (seen !== sent) yield { batch: batchReply(row) };
      sent = seen;
      if (hasEnded(row)) return;
      await next;
    }
  };
