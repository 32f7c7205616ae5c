import { create, fromJsonString, toJsonString } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { type Optimization, OptimizationSchema } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import {
  type OptimizationTry,
  OptimizationTrySchema,
} from '@landfall/proto/landfall/prompt/v1/optimization_try_pb.js';
import type { JobRow } from '../db/evaluation-entities.ts';
import { STATES } from '../jobs/job-store.ts';

/** An optimisation as its contract shows it. */
export function optimizationReply(row: JobRow): Optimization {
  const { id, name, version, state, testSet, failure, author, revision } = row;
  return create(OptimizationSchema, {
    ...fromJsonString(OptimizationSchema, row.content),
    ...{ id, name, fromVersion: version, testSet, failure, author },
    state: STATES[state],
    createTime: timestampFromMs(row.createdMs),
    ...(row.startedMs ? { startTime: timestampFromMs(row.startedMs) } : {}),
    ...(row.endedMs ? { endTime: timestampFromMs(row.endedMs) } : {}),
    revision: BigInt(revision),
  });
}

export const writeTry = (one: OptimizationTry): string => toJsonString(OptimizationTrySchema, one);
export const readTry = (content: string): OptimizationTry => fromJsonString(OptimizationTrySchema, content);
