import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { backgroundCall } from '@landfall/common/rpc/background-call.ts';
import { InspectRequestSchema } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import type { VisionContext } from '../context.ts';
import type { BatchRow } from '../db/batch-entities.ts';
import { inspect } from '../inspection/inspect.ts';

/** Images asked about at once, behind live calls. */
const AT_ONCE = 4;
const IMAGE = /\.(png|jpe?g|webp)$/i;
/** Of the image, not of the service: the next image may be another matter. */
const OF_THE_IMAGE = [status.INVALID_ARGUMENT, status.ABORTED, status.DATA_LOSS];

/** How far a batch is. */
export type BatchProgress = Pick<BatchRow, 'total' | 'done' | 'failed' | 'defective' | 'failure'>;

/**
 * Inspects the images of a data set in the order of their paths, from where an earlier attempt ended. Each has a token of
 * its own, so that what was inspected before a crash is found and not asked again.
 * @param save keeps how far it is; false ends the work
 */
export async function runBatch(
  context: VisionContext,
  row: Readonly<BatchRow>,
  signal: AbortSignal,
  save: (progress: BatchProgress) => Promise<boolean>,
): Promise<void> {
  const { tenant, author: subject, authorRole: role, dataset } = row;
  const call = backgroundCall({ subject, tenant, role }, signal);
  const version = await context.dataSets.find(dataset, 'dataset', { context: call });
  const paths = (version.manifest?.files ?? []).map(({ path }) => path).filter((path) => IMAGE.test(path));
  paths.sort((a, b) => (a < b ? -1 : 1));
  const { done, failed, defective, failure } = row;
  const progress = { total: paths.length, done, failed, defective, failure };
  if (!(await save(progress))) return;
  while (progress.done < paths.length) {
    signal.throwIfAborted();
    const part = paths.slice(progress.done, progress.done + AT_ONCE);
    const outcomes = await Promise.all(part.map((path) => one(path)));
    for (const outcome of outcomes) {
      progress.done++;
      if (outcome === 'defective') progress.defective++;
      if (typeof outcome === 'object') Object.assign(progress, { failed: progress.failed + 1, ...outcome });
    }
    if (!(await save(progress))) return;
  }

  async function one(path: string): Promise<'sound' | 'defective' | { failure: string }> {
    try {
      const content = await context.dataSets.read(version, path, { context: call });
      const request = create(InspectRequestSchema, {
        ...{
          requestId: `batch:${row.id}:${paths.indexOf(path)}`,
          image: { content },
          item: path.slice(-256),
        },
        ...{ profile: row.profile, profileVersion: row.profileVersion },
        ...{ deployment: row.deployment, line: row.line },
      });
      const report = await inspect(context, request, call, { field: '', batchId: row.id });
      return report.defective ? 'defective' : 'sound';
    } catch (cause) {
      if (!(cause instanceof LandfallError) || !OF_THE_IMAGE.includes(cause.code)) throw cause;
      return { failure: `${path}: ${cause.message}` };
    }
  }
}
