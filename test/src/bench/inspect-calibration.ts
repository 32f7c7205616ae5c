import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { create } from '@bufbuild/protobuf';
import { readLauncherConfig } from '@landfall/deploy/config.ts';
import { connectMesh, type MeshClients } from '@landfall/deploy/demo/clients.ts';
import { LauncherProcess } from '@landfall/deploy/demo/launcher-process.ts';
import {
  type Defect,
  DefectSchema,
  type Report as Inspection,
  type Severity,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import type { ProfileSpec } from '@landfall/proto/landfall/vision/v1/profile_pb.js';
import { CalibrationMethod } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { type Curve, curveFor } from '@landfall/vision-inference/calibration/apply.ts';
import { claimsOf } from '@landfall/vision-inference/calibration/claims.ts';
import type { Claim } from '@landfall/vision-inference/calibration/fit.ts';
import { type Truth, truthOf } from '@landfall/vision-inference/calibration/judge-fit.ts';
import { askedBy } from '@landfall/vision-inference/inspection/question.ts';
import { DEPLOYMENT, deployInspector, SEVERITIES } from './inspect.ts';
import { madePieces, type Piece } from './inspect-folder.ts';
import { type Report, UsageError } from './report.ts';

/** The built-in profile; what is put under its name takes its place. */
const PROFILE = 'surface';
/** Images on their way at once. */
const IN_FLIGHT = 4;
/** Far from the seeds of training, which begin at a million, and from those of `bench -- inspect`. */
const SEED = 80_000_000;
/** Held-out images that are inspected once more, by the calibrated profile. */
const AGAIN = 8;
const METHODS = {
  chosen: CalibrationMethod.UNSPECIFIED,
  temperature: CalibrationMethod.TEMPERATURE,
  platt: CalibrationMethod.PLATT,
  isotonic: CalibrationMethod.ISOTONIC,
} as const;

interface Seen {
  piece: Piece;
  inspection: Inspection;
  truth: Defect[];
}

/**
 * `npm run bench -- inspect-calibration [--fit 150] [--held-out 150] [--seed N]`: what calibrating the demo's inspecting
 * model under the profile `surface` comes to, through the gateway of a mesh. Reviews of the first images are decided by
 * what is known of them, `CalibrateProfile` fits each method, and expected calibration error and cross entropy are those
 * of reports on other images, before and after; with how many of those the abstain band leaves to people, and how many of the others
 * pass or fail wrongly.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      fit: { type: 'string', default: '150' },
      'held-out': { type: 'string', default: '150' },
      seed: { type: 'string', default: String(SEED) },
    },
  });
  const [fit, heldOut, seed] = (['fit', 'held-out', 'seed'] as const).map((name) => {
    const value = Number(values[name]);
    if (!Number.isSafeInteger(value) || value < 1) throw new UsageError(`--${name} must be a whole number`);
    return value;
  }) as [number, number, number];
  const home = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  const { environment } = readLauncherConfig({ ...process.env, LANDFALL_GATEWAY_PORT: '0' });
  const mesh = await LauncherProcess.start(home, { ...environment, LANDFALL_GATEWAY_PORT: '0' }, () => {});
  try {
    const clients = connectMesh(mesh.address.gateway, mesh.address.apiKey);
    const model = await deployInspector(clients);
    const spec = await reviewAll(clients);
    await inspectAll(clients, madePieces(fit, seed), (seen) => decide(clients, seen));
    const held: Seen[] = [];
    await inspectAll(clients, madePieces(heldOut, seed + fit), async (seen) => void held.push(seen));
    const claims = claimed(held);
    report.figure('reviews', fit, 'reviews');
    report.figure('held-out.claims', claims.length, 'claims');
    const before = truthOf(claims);
    tell(report, 'before', before);
    figuresOfBand(report, 'before', held, spec, (raw) => raw);
    for (const [name, method] of Object.entries(METHODS)) {
      const request = { requestId: name, name: PROFILE, model, method };
      const calibration = (await clients.profiles.calibrateProfile(request)).calibration!;
      const curve = curveFor([calibration], model, askedBy(spec))!;
      const { errorBefore, logLossBefore, errorAfter, logLossAfter } = calibration;
      if (name === 'chosen') tell(report, 'reviewed.before', { error: errorBefore, logLoss: logLossBefore });
      tell(report, `reviewed.${name}`, { error: errorAfter, logLoss: logLossAfter });
      const after = truthOf(claims, curve);
      tell(report, name, after);
      if (calibration.temperature > 0) {
        report.figure(`${name}.temperature`, calibration.temperature, 'T');
        report.figure(`${name}.offset`, calibration.offset, 'log-odds');
      }
      report.ratio(`${name}-to-before`, after.logLoss, before.logLoss, 'nats a claim');
      figuresOfBand(report, name, held, spec, curve);
      await confirmApplied(clients, held.slice(0, AGAIN), curve);
    }
    return { seed };
  } finally {
    await mesh.stop();
    rmSync(home, { recursive: true, force: true });
  }
}

/** Has every report of the profile reviewed. @returns the profile as it is otherwise */
async function reviewAll({ profiles }: MeshClients): Promise<ProfileSpec> {
  const { spec } = (await profiles.getProfile({ name: PROFILE })).profile!;
  await profiles.putProfile({
    ...{ requestId: randomUUID(), name: PROFILE },
    spec: { ...spec!, review: { ...spec!.review!, always: true } },
  });
  return spec!;
}

async function inspectAll(
  { vision }: MeshClients,
  pieces: AsyncGenerator<Piece>,
  then: (seen: Seen) => Promise<void>,
): Promise<void> {
  let done = 0;
  const worker = async () => {
    for (;;) {
      const { value: piece, done: over } = await pieces.next();
      if (over) return;
      await then({ piece, truth: defectsOf(piece), inspection: await inspect(vision, piece) });
      if (++done % 50 === 0) process.stderr.write(`${done} images\n`);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

async function inspect(vision: MeshClients['vision'], { bytes }: Piece): Promise<Inspection> {
  const image = { content: new Uint8Array(bytes) };
  return (await vision.inspect({ image, profile: PROFILE, deployment: DEPLOYMENT })).report!;
}

function defectsOf({ defects }: Piece): Defect[] {
  return defects.map(({ type, severity, box: [x0, y0, x1, y1] }) => {
    const known = Object.entries(SEVERITIES).find(([, name]) => name === severity)!;
    const level = Number(known[0]) as Severity;
    return create(DefectSchema, { type, severity: level, box: { x0, y0, x1, y1 } });
  });
}

/** Decides a report's review as somebody would who knows the truth. */
async function decide({ reviews }: MeshClients, { inspection, truth }: Seen): Promise<void> {
  const { reviewId: id } = inspection;
  await reviews.claimReview({ id });
  await reviews.decideReview({ id, requestId: id, defects: truth });
}

/** What reports of a profile that is not calibrated claim, and whether it is so. */
function claimed(seen: readonly Seen[]): Claim[] {
  return seen.flatMap(({ inspection, truth }) =>
    claimsOf(inspection, truth, inspection.defectProbability).map((claim) => ({
      ...{ ...claim, weight: 1, review: inspection.id },
    })),
  );
}

function tell(report: Report, name: string, { error, logLoss }: Truth): void {
  report.figure(`${name}.error`, error, 'ECE');
  report.figure(`${name}.log-loss`, logLoss, 'nats a claim');
}

/** How many pieces a band leaves to people under a curve, and how many of the others pass or fail wrongly. */
function figuresOfBand(
  report: Report,
  name: string,
  seen: readonly Seen[],
  { threshold, review }: ProfileSpec,
  curve: Curve,
): void {
  const { uncertainFrom, uncertainTo } = review!;
  const rows = seen.map(({ inspection: { defects, belowThreshold, defectProbability }, truth }) => {
    const named = [...defects, ...belowThreshold].map(({ rawConfidence }) => curve(rawConfidence));
    const asked = [curve(defectProbability), ...named].some((p) => p >= uncertainFrom && p < uncertainTo);
    return { asked, isRight: named.some((p) => p >= threshold) === truth.length > 0 };
  });
  const others = rows.filter(({ asked }) => !asked);
  const wrong = others.filter(({ isRight }) => !isRight);
  report.figure(`band.${name}.asked`, 100 * (1 - others.length / rows.length), '% left to people');
  report.figure(
    `band.${name}.wrong`,
    others.length === 0 ? 0 : (100 * wrong.length) / others.length,
    '% of the others pass or fail wrongly',
  );
}

/** What the service says now is what the curve says. @throws where it is not */
async function confirmApplied({ vision }: MeshClients, seen: readonly Seen[], curve: Curve): Promise<void> {
  for (const { piece, inspection: before } of seen) {
    const now = await inspect(vision, piece);
    const told = [now.defectProbability, ...now.defects.map(({ confidence }) => confidence)];
    const expected = [before.defectProbability, ...now.defects.map(({ rawConfidence }) => rawConfidence)];
    const off = told.map((value, i) => Math.abs(value - curve(expected[i]!)));
    if (!now.calibrated || Math.max(...off) > 1e-6)
      throw new Error(`${piece.file}: the report says ${told.join(', ')}, which is not what the curve says`);
  }
}
