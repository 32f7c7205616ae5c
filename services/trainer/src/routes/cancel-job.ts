import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  CancelJobRequestSchema,
  CancelJobResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { Route } from '../context.ts';
import { jobReply } from '../domain/job-reply.ts';
import { cancelJob as cancel, lockJob } from '../domain/job-transitions.ts';

export const cancelJob: Route<'cancelJob'> =
  ({ database, changes }) =>
  async (request, { identity: { tenant } }) => {
    const { id, requestId } = request;
    const call = {
      tenant,
      method: 'CancelJob',
      requestId,
      input: CancelJobRequestSchema,
      output: CancelJobResponseSchema,
    };
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const row = await lockJob(em, id, tenant);
        await cancel(em, row);
        await em.flush();
        return create(CancelJobResponseSchema, { job: await jobReply(em, row) });
      }),
    );
    changes.touch(id);
    return reply;
  };
