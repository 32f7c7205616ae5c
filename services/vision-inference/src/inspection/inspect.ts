import { createHash } from 'node:crypto';
import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { failedPrecondition, invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { storedImage } from '@landfall/images/stored.ts';
import { type Report, ReportSchema } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import {
  type InspectRequest,
  InspectRequestSchema,
} from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import { curveFor } from '../calibration/apply.ts';
import type { VisionContext } from '../context.ts';
import { explainReport } from '../domain/explain-report.ts';
import { findProfile } from '../domain/profiles.ts';
import { findByRequest, saveReport } from '../domain/save-report.ts';
import { imageRefused } from '../errors.ts';
import { explain } from './attend.ts';
import { judge } from './judge.ts';
import { look } from './look.ts';
import { askedBy, questionOf } from './question.ts';

/** Where an inspection belongs. */
export interface Origin {
  /** Path of the request's fields in what the caller sent, with a dot behind it; '' for Inspect itself. */
  field: string;
  /** Batch that it belongs to; '' for none. */
  batchId: string;
}

/**
 * An image to a report that is kept. With a request id the first report is given again, and no model is asked.
 * @throws LandfallError
 */
export async function inspect(
  context: VisionContext,
  request: InspectRequest,
  call: CallContext,
  origin: Origin = { field: '', batchId: '' },
): Promise<Report> {
  const { database, replicas } = context;
  const { tenant, subject } = call.identity;
  const begunMs = performance.now();
  const requestDigest = createHash('sha256')
    .update(toBinary(InspectRequestSchema, request))
    .digest('base64url');
  const repeated = await findByRequest(context, tenant, { requestId: request.requestId, requestDigest });
  if (repeated) return request.includeHeatMap ? explainReport(context, repeated.id, call) : repeated;
  const { profile: name, profileVersion } = request;
  const profile = await database.read((em) => findProfile(em, tenant, name, profileVersion));
  const spec = profile.spec!;
  const deployment = deploymentFor(spec, request, origin.field);
  const image = await takeImage(context, request, call, `${origin.field}image.content`);
  const asked = askedBy(spec);
  const asking = { replicas, deployment, spec, call };
  const { text, answer, confidence, model, firstTokenMs } = await look(asking, image.bytes);
  const judgement = judge({
    ...{ profile, answer, image, confidence },
    curve: curveFor(profile.calibrations, model, asked),
  });
  const report = create(ReportSchema, {
    ...judgement.report,
    ...{ id: uuidv7(), model, deployment, line: request.line, item: request.item, author: subject },
    ...{ time: timestampFromMs(Date.now()), imageKept: true, promptDigest: asked.promptDigest },
    ...{ firstTokenMs, durationMs: performance.now() - begunMs },
  });
  const { spans } = judgement;
  const seen = { ...image, image: image.bytes, model, prompt: questionOf(spec).prompt, answer: text };
  const heatMap = request.includeHeatMap
    ? await explain(replicas, { ...seen, defects: report.defects, spans }, call)
    : new Uint8Array();
  const saved = await saveReport(context, call.identity, {
    ...{ report, judgement, spec, answer: text, requestId: request.requestId, requestDigest },
    batchId: origin.batchId,
  });
  // Another call with the same token was faster: its report is the one that is kept.
  if (saved.id !== report.id) return saved;
  return Object.assign(report, { heatMap, needsReview: saved.needsReview, reviewId: saved.reviewId });
}

/**
 * Who looks: whom the request names, or the profile.
 * @throws LandfallError for nobody, or for a line that the profile does not have
 */
export function deploymentFor(
  { deployment, lines }: ProfileSpec,
  request: Pick<InspectRequest, 'deployment' | 'line' | 'profile'>,
  field: string,
): string {
  if (request.line !== '' && lines.length > 0 && !lines.includes(request.line)) {
    throw invalidArgument(`${field}line`, `'${request.line}' is none of the profile's: ${lines.join(', ')}`);
  }
  const asked = request.deployment || deployment;
  if (asked !== '') return asked;
  throw failedPrecondition(
    `profile '${request.profile}' names no deployment: give one with the request, or in the profile`,
    { reason: 'NO_DEPLOYMENT' },
  );
}

/** The image as it is kept and asked about: checked, upright, without anything but its pixels. */
async function takeImage(
  { decoding, images }: VisionContext,
  request: InspectRequest,
  { signal }: CallContext,
  field: string,
) {
  const taken = await decoding.within(signal, async () => {
    try {
      return await storedImage(request.image!.content);
    } catch (cause) {
      throw imageRefused(field, cause);
    }
  });
  await images.keep(taken, signal);
  return taken;
}
