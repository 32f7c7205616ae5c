import { unavailable } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';
import { findPlan, planReply } from '../plan/store.ts';

export const watchTuningPlan: Route<'watchTuningPlan'> = ({ database, changes, stopping }) =>
  async function* ({ id }, { identity, signal: caller }) {
    const signal = AbortSignal.any([caller, stopping]);
    let sent = -1;
    while (!signal.aborted) {
      // Asked for before the look, so that a change between look and wait is not missed.
      const change = changes.next(id, signal);
      const found = await database.read(async (em) => {
        const row = await findPlan(em, identity.tenant, id);
        if (row.revision === sent) return undefined;
        return { row, plan: await planReply(em, row, { rounds: true }) };
      });
      if (found) {
        const { row, plan } = found;
        sent = row.revision;
        const jobIds = plan.rounds.map(({ jobId }) => jobId).filter((jobId) => jobId !== '');
        const done = row.state !== 'running';
        yield { id, jobIds, best: plan.bestValue, done, plan };
        if (done) return;
      }
      await change;
    }
    if (stopping.aborted) throw unavailable('the service is stopping; watch again');
  };
