import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create, toJsonString } from '@bufbuild/protobuf';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { Kind, LineageSchema, type Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type PreparationOptions,
  PreparationOptionsSchema,
} from '@landfall/proto/landfall/trainer/v1/preparation_pb.js';
import type { RegistryGateway } from '../clients/registry.ts';
import { IssueReport } from '../engine/data/issues.ts';
import {
  type PreparationResult,
  prepareInThread,
  REPORT_FILE,
  TRAINING_FILE,
  VALIDATION_FILE,
} from '../engine/preparation/thread.ts';
import { badRows } from '../errors.ts';

const DEFAULT_THRESHOLD = 0.85;

export interface PreparationRequest {
  options: PreparationOptions | undefined;
  dryRun: boolean;
  requestId: string;
}

export interface PreparationOutcome {
  /** `models:/name/version` of the prepared rows; empty on a dry run. */
  training: string;
  /** `models:/name-validation/version` of the rows split off; empty where there are none. */
  validation: string;
  result: PreparationResult;
  /** Markdown. */
  report: string;
}

/**
 * Prepares a raw data set and commits what is kept: the same raw version, options and request id find the same
 * versions again.
 *
 * @throws LandfallError FAILED_PRECONDITION with row numbers when nothing is left to learn from
 */
export async function prepare(
  registry: RegistryGateway,
  raw: Version,
  { options = create(PreparationOptionsSchema), dryRun, requestId }: PreparationRequest,
  call: CallOptions,
): Promise<PreparationOutcome> {
  const heldOut = await Promise.all(
    options.validationDatasets.map(async (ref, i) => {
      const version = await registry.ready(ref, Kind.DATASET, `options.validation_datasets[${i}]`, call);
      return { ref: version.ref, digest: version.digest, folder: await registry.folder(version, call) };
    }),
  );
  const output = await mkdtemp(path.join(tmpdir(), 'landfall-prepare-'));
  try {
    const result = await prepareInThread({
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
    });
    const checked = { report: IssueReport.from(result.issues, result.issueCounts) };
    if (result.trainingRows === 0) throw badRows(raw.ref, 'no usable row', checked, '');
    if (result.onlyDuplicates) throw badRows(raw.ref, 'all rows are the same', checked, '');
    const report = await readFile(path.join(output, REPORT_FILE), 'utf8');
    if (dryRun) return { training: '', validation: '', result, report };
    const key = createHash('sha256')
      .update(`${raw.digest}/${requestId}/${toJsonString(PreparationOptionsSchema, options)}`)
      .update(heldOut.map(({ digest }) => digest).join())
      .digest('hex')
      .slice(0, 32);
    const commit = (name: string, file: string, rows: number) =>
      commitPrepared(registry, raw, { name, key, rows, file: path.join(output, file), report }, call);
    const training = await commit(raw.name, TRAINING_FILE, result.trainingRows);
    let validation = '';
    if (result.validationRows > 0) {
      const name = `${raw.name}-validation`;
      await registry.ensureModel(name, Kind.DATASET, `validation rows of ${raw.name}`, call);
      validation = await commit(name, VALIDATION_FILE, result.validationRows);
    }
    return { training, validation, result, report };
  } finally {
    await rm(output, { recursive: true, force: true });
  }
}

interface PreparedFile {
  name: string;
  key: string;
  rows: number;
  file: string;
  report: string;
}

async function commitPrepared(
  registry: RegistryGateway,
  raw: Version,
  { name, key, rows, file, report }: PreparedFile,
  call: CallOptions,
): Promise<string> {
  const lineage = create(LineageSchema, {
    datasets: [{ ref: raw.ref, digest: raw.digest, role: 'raw' }],
  });
  const draft = await registry.draft(name, `prepare-${key}`, `prepared from ${raw.ref}`, lineage, call);
  const known = await registry.version(`models:/${name}/${draft.version}`, 'dataset', call);
  // A repeat finds the version that the first call has committed.
  if (known.digest !== '') return known.ref;
  await registry.upload(draft, { path: 'data.jsonl', file }, call);
  await registry.upload(draft, { path: 'report.md', content: Buffer.from(report) }, call);
  const committed = await registry.commit(draft, `prepare-commit-${key}`, { rows }, lineage, call);
  return committed.ref;
}
