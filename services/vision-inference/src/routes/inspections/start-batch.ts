import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import {
  BatchState,
  StartBatchRequestSchema,
  StartBatchResponseSchema,
} from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import { batchReply } from '../../batch/batch-store.ts';
import type { InspectionRoute } from '../../context.ts';
import { BatchEntity, type BatchRow } from '../../db/batch-entities.ts';
import { findProfile } from '../../domain/profiles.ts';
import { deploymentFor } from '../../inspection/inspect.ts';

export const startBatch: InspectionRoute<'startBatch'> =
  ({ database, dataSets, batches }) =>
  async (request, context) => {
    const { tenant, subject, role } = context.identity;
    const call = {
      ...{ tenant, requestId: request.requestId, method: 'landfall.vision.v1.InspectionService/StartBatch' },
      ...{ input: StartBatchRequestSchema, output: StartBatchResponseSchema },
    };
    // An alias may move while the batch runs: what it means now is inspected.
    const { ref: dataset } = await dataSets.find(request.dataset, 'dataset', { context });
    const reply = await database.transaction((em) =>
      once(em, call, request, async () => {
        const {
          name: profile,
          version: profileVersion,
          spec,
        } = await findProfile(em, tenant, request.profile);
        const row = {
          ...{ id: uuidv7(), tenant, state: BatchState.RUNNING, profile, profileVersion, dataset },
          ...{ deployment: deploymentFor(spec!, request, ''), line: request.line },
          ...{ total: 0, done: 0, failed: 0, defective: 0, failure: '', author: subject, authorRole: role },
          ...{ owner: '', leaseMs: 0, createdMs: Date.now(), endedMs: null, revision: 1 },
        };
        await em.insert(BatchEntity, row);
        return create(StartBatchResponseSchema, { batch: batchReply(row as BatchRow) });
      }),
    );
    batches.wake();
    return reply;
  };
