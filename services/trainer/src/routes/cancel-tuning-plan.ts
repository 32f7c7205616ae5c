import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  CancelTuningPlanRequestSchema,
  CancelTuningPlanResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route } from '../context.ts';
import { cancelJob, lockJob } from '../domain/job-transitions.ts';
import { endPlan, lockPlan, planReply, readRounds } from '../plan/store.ts';

export const cancelTuningPlan: Route<'cancelTuningPlan'> =
  ({ database, changes, plans }) =>
  async (request, { identity: { tenant } }) => {
    const { id, requestId } = request;
    const call = {
      tenant,
      method: 'CancelTuningPlan',
      requestId,
      input: CancelTuningPlanRequestSchema,
      output: CancelTuningPlanResponseSchema,
    };
    let jobId = '';
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const row = await lockPlan(em, tenant, id);
        if (row.state === 'running') {
          const { round } = (await readRounds(em, row)).at(-1) ?? {};
          if (round && !round.done) {
            jobId = round.jobId;
            await cancelJob(em, await lockJob(em, jobId, tenant));
          }
          endPlan(row, 'cancelled', 'it was cancelled');
          row.revision++;
          await em.flush();
        }
        const plan = await planReply(em, row, { rounds: true });
        return create(CancelTuningPlanResponseSchema, { plan });
      }),
    );
    plans.interrupt(id);
    changes.touch(id);
    if (jobId !== '') changes.touch(jobId);
    return reply;
  };
