import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline/promises';
import { create, fromJsonString, type JsonObject, toJson } from '@bufbuild/protobuf';
import { dataLoss } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { LineageSchema, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type PrepareDatasetResponse,
  PrepareDatasetResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { type RegistryGateway, refOf } from '../clients/registry.ts';
import {
  ISSUES_FILE,
  type PreparationOptions,
  REPORT_FILE,
  TRAINING_FILE,
  VALIDATION_FILE,
} from '../engine/preparation/task.ts';

/** The reply of PrepareDataset as ProtoJSON, beside the rows; readers of rows know it by its name. */
const REPLY_FILE = 'preparation.json';
const ROWS_FILE = 'data.jsonl';

/** What a preparation wants committed. */
export interface PreparedFiles {
  raw: Version;
  key: string;
  /** Folder with the engine's files. */
  output: string;
  /** Folder of the raw version, where images lie. */
  folder: string;
  /** Without references yet. */
  reply: PrepareDatasetResponse;
  validationName: string;
}

/** One for each raw version, request and way of preparing: the same again is the same preparation. */
export function preparationKey(
  raw: Version,
  requestId: string,
  options: PreparationOptions,
  heldOutDigests: readonly string[],
): string {
  const { keepPersonalData, keepNearDuplicates, nearDuplicateThreshold, keepLengthOutliers } = options;
  const parts = [
    raw.ref,
    raw.digest,
    requestId,
    keepPersonalData,
    keepNearDuplicates,
    nearDuplicateThreshold,
    keepLengthOutliers,
    options.validationShare,
    `${options.seed}`,
    ...heldOutDigests,
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}

/**
 * Commits the rows with their reports, the training set last, so that where it is known all is. A repeat finds what the
 * first call has committed, and gives its reply.
 */
export async function commitPrepared(
  registry: RegistryGateway,
  { raw, key, output, folder, reply, validationName }: PreparedFiles,
  call: CallOptions,
): Promise<PrepareDatasetResponse> {
  const lineage = create(LineageSchema, {
    datasets: [{ ref: raw.ref, digest: raw.digest, role: 'raw' }],
  });
  const draftOf = async (name: string) => {
    const draft = await registry.draft(
      name,
      `prepare-${key}-${name}`,
      `prepared from ${raw.ref}`,
      lineage,
      call,
    );
    return registry.version(refOf(draft), 'dataset', call);
  };
  const training = await draftOf(raw.name);
  if (training.digest !== '') return storedReply(registry, training, call);
  const validation = reply.validationRows > 0n ? await draftOf(validationName) : undefined;
  reply.dataset = refOf(training);
  reply.validationDataset = validation ? refOf(validation) : '';

  const { report, ...figures } = toJson(PrepareDatasetResponseSchema, reply) as JsonObject;
  const commit = async (draft: Version, rowsFile: string, rows: bigint) => {
    await registry.upload(draft, { path: ROWS_FILE, file: path.join(output, rowsFile) }, call);
    for (const image of await imagesOf(path.join(output, rowsFile)))
      await registry.upload(draft, { path: image, file: path.join(folder, image) }, call);
    for (const name of [REPORT_FILE, ISSUES_FILE]) {
      await registry.upload(draft, { path: name, file: path.join(output, name) }, call);
    }
    const content = Buffer.from(`${JSON.stringify(figures, undefined, 1)}\n`);
    await registry.upload(draft, { path: REPLY_FILE, content }, call);
    await registry.commit(
      draft,
      `prepare-commit-${key}-${draft.name}`,
      { rows: Number(rows) },
      lineage,
      call,
    );
  };
  if (validation && validation.digest === '') await commit(validation, VALIDATION_FILE, reply.validationRows);
  await commit(training, TRAINING_FILE, reply.rowsOut - reply.validationRows);
  return reply;
}

/** Paths of the images that rows show, each once. */
async function imagesOf(rowsFile: string): Promise<Set<string>> {
  const paths = new Set<string>();
  const lines = createInterface({ input: createReadStream(rowsFile), crlfDelay: Number.POSITIVE_INFINITY });
  for await (const line of lines) {
    const { image, images = [] } = JSON.parse(line) as { image?: string; images?: string[] };
    for (const shown of image === undefined ? images : [image]) paths.add(shown);
  }
  return paths;
}

async function storedReply(
  registry: RegistryGateway,
  version: Version,
  call: CallOptions,
): Promise<PrepareDatasetResponse> {
  const [figures, report] = await Promise.all(
    [REPLY_FILE, REPORT_FILE].map((name) => registry.read(version, name, call)),
  );
  if (!figures || !report) throw dataLoss(`${version.ref} lacks the report of its preparation`);
  const reply = fromJsonString(PrepareDatasetResponseSchema, figures.toString());
  reply.report = report.toString();
  return reply;
}
