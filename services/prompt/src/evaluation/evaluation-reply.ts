import { create, fromJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Evaluation, EvaluationSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { JobRow } from '../db/evaluation-entities.ts';
import { STATES } from '../jobs/job-store.ts';

/** An evaluation as its contract shows it. */
export function evaluationReply(row: JobRow): Evaluation {
  const { id, name, version, state, testSet, testSetDigest, failure, author, revision } = row;
  return create(EvaluationSchema, {
    ...fromJsonString(EvaluationSchema, row.content),
    ...{ id, name, version, testSet, testSetDigest, failure, author },
    state: STATES[state],
    createTime: timestampFromMs(row.createdMs),
    ...(row.startedMs ? { startTime: timestampFromMs(row.startedMs) } : {}),
    ...(row.endedMs ? { endTime: timestampFromMs(row.endedMs) } : {}),
    revision: BigInt(revision),
  });
}
