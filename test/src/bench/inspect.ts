import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { readLauncherConfig } from '@landfall/deploy/config.ts';
import { connectMesh, type MeshClients } from '@landfall/deploy/demo/clients.ts';
import { LauncherProcess } from '@landfall/deploy/demo/launcher-process.ts';
import { figuresOf, pairs, type ReportedDefect } from '@landfall/deploy/inspection-model/figures.ts';
import {
  type Defect,
  type Report as Inspection,
  Severity,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { type Agreement, agreementOf } from './inspect-attention.ts';
import { folderPieces, madePieces, type Piece, writePieces } from './inspect-folder.ts';
import { type Report, UsageError } from './report.ts';

export const DEPLOYMENT = 'inspect';
/** The built-in profile that is taken, and its name with the bench's looks and threshold. */
const BUILT_IN = 'surface';
const PROFILE = 'surface-bench';
/** Looks at an image, and least confidence of what is reported, where nothing else is asked for. */
const LOOKS = 2;
const THRESHOLD = 0.3;
/** Images on their way at once. */
const IN_FLIGHT = 4;
/** Far from the seeds of training, which begin at a million. */
const SEED = 70_000_000;

export const SEVERITIES: Partial<Record<Severity, string>> = {
  [Severity.SLIGHT]: 'slight',
  [Severity.MODERATE]: 'moderate',
  [Severity.SEVERE]: 'severe',
};

/**
 * `npm run bench -- inspect [--images DIR] [--count 500] [--seed N] [--heat-maps 100] [--looks 2] [--threshold 0.3]`: how
 * well the demo's inspecting model sees, through the gateway of a mesh. Without a folder images are made from the seed; `--make DIR` writes them as
 * such a folder instead.
 */
export async function run(report: Report, args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      images: { type: 'string' },
      make: { type: 'string' },
      count: { type: 'string', default: '500' },
      seed: { type: 'string', default: String(SEED) },
      'heat-maps': { type: 'string', default: '100' },
      looks: { type: 'string', default: String(LOOKS) },
      threshold: { type: 'string', default: String(THRESHOLD) },
    },
  });
  const [count, seed, heatMaps, looks] = ['count', 'seed', 'heat-maps', 'looks'].map((name) => {
    const value = Number(values[name as 'count']);
    if (!Number.isSafeInteger(value) || value < 0) throw new UsageError(`--${name} must be a whole number`);
    return value;
  }) as [number, number, number, number];
  const threshold = Number(values.threshold);
  if (!(threshold >= 0 && threshold <= 1)) throw new UsageError('--threshold must be from 0 to 1');
  const made = () => madePieces(count, seed);
  if (values.make)
    return { seed, images: await writePieces(resolve(values.make), made()), folder: values.make };
  const home = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
  const { environment } = readLauncherConfig({ ...process.env, LANDFALL_GATEWAY_PORT: '0' });
  const mesh = await LauncherProcess.start(home, { ...environment, LANDFALL_GATEWAY_PORT: '0' }, () => {});
  try {
    const clients = connectMesh(mesh.address.gateway, mesh.address.apiKey);
    await deployInspector(clients);
    const { profile } = await clients.profiles.getProfile({ name: BUILT_IN });
    await clients.profiles.putProfile({ name: PROFILE, spec: { ...profile!.spec!, looks, threshold } });
    const pieces = values.images ? folderPieces(resolve(values.images)) : made();
    const seen = await inspectAll(clients, pieces, heatMaps);
    figures(report, seen);
    return { looks, threshold, ...(values.images ? { images: values.images } : { seed }) };
  } finally {
    await mesh.stop();
    rmSync(home, { recursive: true, force: true });
  }
}

interface Seen {
  piece: Piece;
  inspection: Inspection;
}

/** The demo's model, ready to inspect. @returns `models:/name/version` */
export async function deployInspector({ registry, balancer }: MeshClients): Promise<string> {
  const { version } = await registry.importModel({
    requestId: randomUUID(),
    name: 'surface-inspector',
    folder: 'inspection-model',
  });
  await balancer.deploy(
    { requestId: randomUUID(), name: DEPLOYMENT, model: version!.ref, replicas: 1, waitReady: true },
    { timeoutMs: 90_000 },
  );
  return version!.ref;
}

/** @param heatMaps how many of the first images are explained too */
async function inspectAll(
  { vision }: MeshClients,
  pieces: AsyncGenerator<Piece>,
  heatMaps: number,
): Promise<Seen[]> {
  const seen: Seen[] = [];
  let begun = 0;
  const worker = async () => {
    for (;;) {
      const { value: piece, done } = await pieces.next();
      if (done) return;
      const includeHeatMap = begun++ < heatMaps;
      const image = { content: new Uint8Array(piece.bytes) };
      const { report } = await vision.inspect({
        image,
        profile: PROFILE,
        deployment: DEPLOYMENT,
        includeHeatMap,
      });
      seen.push({ piece, inspection: report! });
      if (seen.length % 50 === 0) process.stderr.write(`${seen.length} images\n`);
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
  return seen;
}

function figures(report: Report, seen: readonly Seen[]): void {
  const rows = seen.map(({ piece, inspection }) => ({
    truth: piece.defects,
    reported: inspection.defects.map(reported),
  }));
  const { images, defects, meanIou, calibrationError, ...shares } = figuresOf(rows);
  report.figure('images', images, 'images');
  report.figure('defects', defects, 'defects');
  for (const [name, value] of Object.entries(shares)) report.figure(name, 100 * value, '%');
  report.figure('meanIou', meanIou, 'IoU');
  report.figure('calibrationError', calibrationError, 'ECE');
  for (const count of [1, 2, 3]) {
    const those = figuresOf(rows.filter(({ truth }) => truth.length === count));
    if (those.images > 0) report.figure(`found.of${count}`, 100 * those.found, '%');
  }
  const agreements = seen.flatMap(agreementsOf);
  if (agreements.length === 0) return;
  const mean = (of: (one: Agreement) => number) =>
    agreements.reduce((sum, one) => sum + of(one), 0) / agreements.length;
  report.figure('heatMap.defects', agreements.length, 'defects');
  report.figure(
    'heatMap.points',
    100 * mean(({ points }) => Number(points)),
    '% of heat maps point at the defect',
  );
  report.ratio(
    'heatMap.within-of-area',
    mean(({ within }) => within),
    mean(({ area }) => area),
    'share',
  );
}

function agreementsOf({ piece, inspection }: Seen): Agreement[] {
  const size = { width: inspection.imageWidth, height: inspection.imageHeight };
  return pairs(piece.defects, inspection.defects.map(reported)).flatMap(({ truth, reported: told }) => {
    const grid = inspection.defects[told]!.attention;
    return grid ? [agreementOf(grid, piece, truth, size)] : [];
  });
}

function reported({ type, severity, box, confidence }: Defect): ReportedDefect {
  const { x0, y0, x1, y1 } = box!;
  return { type, severity: SEVERITIES[severity] ?? '', box: [x0, y0, x1, y1], confidence };
}
