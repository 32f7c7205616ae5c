import { createHash, randomUUID } from 'node:crypto';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { type Version, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { Report, ReviewDecision } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { CorrectionTuning } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import type { ExportCorrectionsRequest } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import type { VisionContext } from '../context.ts';
import { findProfile } from '../domain/profiles.ts';
import { decidedReports } from './decided-reports.ts';
import { type Truth, trainingRow } from './training-row.ts';

/** What an export came to. */
export interface Exported {
  dataset: string;
  rows: number;
  withoutImage: number;
  tuningPlanId: string;
}

const MOST = 10_000;
const ROWS_FILE = 'rows.jsonl';
const EXTENSIONS: Record<string, string> = { 'image/png': 'png', 'image/jpeg': 'jpg', 'image/webp': 'webp' };

/**
 * Makes decided reports a version of a data set, and begins the profile's tuning plan with it. A repeat with the same
 * token goes on where the first ended.
 * @throws LandfallError FAILED_PRECONDITION when there is nothing to export
 */
export async function exportCorrections(
  context: VisionContext,
  request: ExportCorrectionsRequest,
  call: CallContext,
): Promise<Exported> {
  const { tenant } = call.identity;
  const { profile: name, dataset } = request;
  const profile = await context.database.read((em) => findProfile(em, tenant, name));
  const { tuning } = profile.spec!;
  if (tuning && !context.trainer) {
    throw failedPrecondition('this service knows no trainer: LANDFALL_TRAINER_URL is not set', {
      reason: 'NO_TRAINER',
    });
  }
  // Tokens of the calls that follow come from this one's, whatever its length.
  const token = createHash('sha256')
    .update(JSON.stringify([tenant, request.requestId || randomUUID()]))
    .digest('hex')
    .slice(0, 32);
  const { images, missing } = await countImages(context, request, tenant);
  if (images === 0) {
    throw failedPrecondition(`no decided review of '${name}' has its image and a place for each defect`, {
      reason: 'NOTHING_TO_EXPORT',
    });
  }
  const described = `Decided reviews of profile ${name}`;
  const options = { context: call };
  let version = await context.dataSets.draft(dataset, `export-${token}`, described, options);
  if (version.state !== VersionState.READY) {
    await upload(context, request, version, call);
    version = await context.dataSets.commit(version, `commit-${token}`, options);
  }
  const files = version.manifest?.files ?? [];
  return {
    dataset: version.ref,
    rows: files.filter(({ path }) => path !== ROWS_FILE).length,
    withoutImage: missing,
    tuningPlanId: tuning ? await beginPlan(context.trainer!, tuning, version.ref, token, call) : '',
  };
}

const wanted = ({ profile, from, correctedOnly, limit }: ExportCorrectionsRequest, tenant: string) => ({
  ...{ tenant, profile, correctedOnly, fromMs: from ? timestampMs(from) : 0, limit: limit || MOST },
});

/** So that nothing is made in the registry where there is nothing to put into it. */
async function countImages({ database }: VisionContext, request: ExportCorrectionsRequest, tenant: string) {
  let [images, missing] = [0, 0];
  const read = database.read.bind(database);
  for await (const { report, decision, spec } of decidedReports(read, wanted(request, tenant))) {
    if (!report.imageKept) missing++;
    else if (trainingRow('', spec, truthOf(report, decision))) images++;
  }
  return { images, missing };
}

async function upload(
  { database, images, dataSets }: VisionContext,
  request: ExportCorrectionsRequest,
  version: Version,
  call: CallContext,
): Promise<void> {
  const rows: string[] = [];
  const read = database.read.bind(database);
  for await (const { report, decision, spec } of decidedReports(
    read,
    wanted(request, call.identity.tenant),
  )) {
    call.signal.throwIfAborted();
    if (!report.imageKept) continue;
    const { bytes, mediaType } = await images.read(report.imageDigest, call.signal);
    const path = `images/${report.imageDigest.slice(7, 39)}.${EXTENSIONS[mediaType]}`;
    const row = trainingRow(path, spec, truthOf(report, decision));
    if (!row) continue;
    await dataSets.upload(version, path, bytes, { context: call });
    rows.push(`${JSON.stringify(row)}\n`);
  }
  await dataSets.upload(version, ROWS_FILE, Buffer.from(rows.join('')), { context: call });
}

/** What a report should have said: people's defects, and its parts with those that they corrected. */
function truthOf(
  { imageWidth: width, imageHeight: height, sections }: Report,
  decision: ReviewDecision,
): Truth {
  const corrected = new Map(decision.sections.map((section) => [section.id, section]));
  return {
    ...{ width, height, defects: decision.defects },
    sections: sections.map((section) => corrected.get(section.id) ?? section),
  };
}

async function beginPlan(
  trainer: NonNullable<VisionContext['trainer']>,
  { baseModel, evaluationDataset, outputModel, metric, threshold, maxRounds }: CorrectionTuning,
  trainDataset: string,
  token: string,
  call: CallContext,
): Promise<string> {
  const spec = { baseModel, trainDataset, outputModel, evaluation: { dataset: evaluationDataset } };
  const request = { requestId: `plan-${token}`, spec, metric, threshold, maxRounds };
  return (await trainer.createTuningPlan(request, { context: call })).id;
}
