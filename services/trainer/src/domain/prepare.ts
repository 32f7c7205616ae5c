import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { create } from '@bufbuild/protobuf';
import { invalidArgument, resourceExhausted } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { Kind, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { PreparationOptionsSchema } from '@landfall/proto/landfall/trainer/v1/preparation_pb.js';
import type {
  PrepareDatasetRequest,
  PrepareDatasetResponse,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { TrainerContext } from '../context.ts';
import { IssueReport } from '../engine/data/issues.ts';
import { type PreparationTask, REPORT_FILE } from '../engine/preparation/task.ts';
import { PreparationError, prepareInThread } from '../engine/preparation/thread.ts';
import { badRows } from '../errors.ts';
import { preparationReply } from './preparation-reply.ts';
import { commitPrepared, preparationKey } from './prepared-versions.ts';
import { Turns } from './turns.ts';

/** Of the registry's names. */
const MAX_NAME = 64;
const DEFAULT_THRESHOLD = 0.85;
/** Each takes a thread and the memory of its data set. */
const turns = new Turns({ running: 2, waiting: 32 });

/**
 * Prepares a raw data set and commits what is kept: the same raw version, options and request id find the same
 * versions again.
 *
 * @throws LandfallError FAILED_PRECONDITION with row numbers when nothing is left to learn from, RESOURCE_EXHAUSTED
 *   when too many others wait, or disk or memory do not
 *   suffice
 */
export async function prepare(
  { registry, scratch }: TrainerContext,
  raw: Version,
  { options = create(PreparationOptionsSchema), dryRun, requestId }: PrepareDatasetRequest,
  context: CallContext,
): Promise<PrepareDatasetResponse> {
  const call = { context };
  const validationName = `${raw.name}-validation`;
  if (options.validationShare > 0) {
    if (validationName.length > MAX_NAME) {
      const why = `${validationName} would be longer than the ${MAX_NAME} characters of a name`;
      throw invalidArgument('dataset', `${why}; take a data set with a shorter one, or validation_share 0`);
    }
    await registry.requireFree(validationName, Kind.DATASET, call);
  }
  const heldOut = await Promise.all(
    options.validationDatasets.map(async (ref, i) => {
      const version = await registry.ready(ref, Kind.DATASET, `options.validation_datasets[${i}]`, call);
      return { ref: version.ref, digest: version.digest, folder: await registry.folder(version, call) };
    }),
  );
  await using cleanup = new AsyncDisposableStack();
  cleanup.use(await turns.take(context.signal));
  const { path: output } = cleanup.use(await scratch.folder('prepare'));
  const task: PreparationTask = {
    source: raw.ref,
    folder: await registry.folder(raw, call),
    heldOut: heldOut.map(({ ref, folder }) => ({ ref, folder })),
    options: {
      keepPersonalData: options.keepPersonalData,
      keepNearDuplicates: options.keepNearDuplicates,
      nearDuplicateThreshold: options.nearDuplicateThreshold || DEFAULT_THRESHOLD,
      keepLengthOutliers: options.keepLengthOutliers,
      validationShare: options.validationShare,
      seed: options.seed,
    },
    output,
  };
  const result = await prepareInThread(task, context.signal).catch((error) => {
    throw asLandfallError(error);
  });
  const checked = { report: IssueReport.from(result.issues, result.issueCounts) };
  if (result.after.rows === 0) throw badRows(raw.ref, 'no usable row', checked, '');
  if (result.onlyDuplicates) throw badRows(raw.ref, 'all rows are the same', checked, '');
  const report = await readFile(path.join(output, REPORT_FILE), 'utf8');
  const reply = preparationReply(result, report);
  if (dryRun) return reply;
  const key = preparationKey(
    raw,
    requestId,
    task.options,
    heldOut.map(({ digest }) => digest),
  );
  if (reply.validationRows > 0n)
    await registry.ensureModel(validationName, Kind.DATASET, `held out of ${raw.name}`, call);
  return await commitPrepared(
    registry,
    { raw, key, output, folder: task.folder, reply, validationName },
    call,
  );
}

function asLandfallError(error: unknown): unknown {
  if (!(error instanceof PreparationError)) return error;
  if (error.kind === 'disk') {
    return resourceExhausted('the disk is full: nothing was prepared', { reason: 'DISK_FULL', cause: error });
  }
  if (error.kind === 'memory') {
    return resourceExhausted('the data set has more rows than fit into memory; prepare it in parts', {
      reason: 'OUT_OF_MEMORY',
      cause: error,
    });
  }
  return error;
}
