import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import type { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService as RegistryContract } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import {
  type CreateTuningPlanRequest,
  TrainerService,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { BatchState } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { readConfig as readRegistryConfig } from '../../registry/src/config.ts';
import { RegistryService } from '../../registry/src/service.ts';
import { answerOf, picture, type Script, seeing } from './seeing.ts';
import { editor, type Stage, stage } from './stage.ts';

let at: Stage | undefined;
let registry: RpcClient<typeof RegistryContract>;
let script: (number: number) => Script;
const plans: CreateTuningPlanRequest[] = [];
const eye = seeing((_, number) => script(number));
const running = new AsyncDisposableStack();
const scratch = answerOf(['scratch', 'moderate', [10, 20, 30, 40]]);

beforeAll(async () => {
  at = await stage({ eye }, async (signer, meshKey) => {
    const address = await startRegistry(signer, meshKey);
    const trainer = new RpcServer({ signer, logger: createLogger('test', 'silent') }).add(TrainerService, {
      createTuningPlan: (request) => {
        plans.push(request);
        return { id: '01a229cd-67ee-7481-9e3b-174f9d2910fb' };
      },
    });
    const port = await trainer.listen('127.0.0.1', 0);
    running.defer(() => trainer.drain(100));
    return { LANDFALL_REGISTRY_URL: address, LANDFALL_TRAINER_URL: `127.0.0.1:${port}` };
  });
}, 120_000);
afterAll(async () => {
  await at?.[Symbol.asyncDispose]();
  await running.disposeAsync();
});
beforeEach(() => {
  script = () => ({ text: scratch, report: 0.5 });
  eye.asked.length = 0;
});

/** The real registry. */
async function startRegistry(signer: IdentitySigner, meshKey: Uint8Array): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'landfall-vision-registry-'));
  running.defer(() => rmSync(folder, { recursive: true, force: true }));
  const nats = running.use(await startNatsServer({ folder: join(folder, 'nats') }));
  const file = join(folder, 'mesh.key');
  writeFileSync(file, meshKey);
  const env = { LANDFALL_HOME: folder, LANDFALL_NATS_URL: nats.url, LANDFALL_MESH_KEY_FILE: file };
  const config = readRegistryConfig(env);
  const service = running.use(
    await RegistryService.create(config, { logger: createLogger('test', 'silent') }),
  );
  const { address } = await service.start();
  const channel = new RpcChannel(address, { signer, identity: editor });
  running.defer(() => channel.close());
  registry = channel.client(RegistryContract);
  return address;
}

async function dataset(name: string, files: Record<string, Buffer>): Promise<string> {
  await registry.createModel({ name, kind: Kind.DATASET });
  const { version } = (await registry.createVersion({ name })).version!;
  const rows = { 'rows.jsonl': Buffer.from('{"prompt":"x","completion":"y"}\n') };
  for (const [path, content] of Object.entries({ ...rows, ...files })) {
    const header = { name, version, path, sizeBytes: BigInt(content.length) };
    await registry.putArtifact({ header, content });
  }
  return (await registry.commitVersion({ name, version })).version!.ref;
}

async function file(ref: string, path: string): Promise<Buffer> {
  const [, name, version] = /^models:\/([^/]+)\/(.+)$/.exec(ref)!;
  const parts: Uint8Array[] = [];
  for await (const { chunk } of registry.downloadArtifact({ name: name!, version: version!, path }))
    parts.push(chunk);
  return Buffer.concat(parts);
}

async function decided(profile: string, shade: number, words: object) {
  const image = { content: await picture(200, 100, shade) };
  const { reviewId: id } = (await at!.vision.inspect({ profile, deployment: 'eye', image })).report!;
  await at!.reviews.claimReview({ id });
  await at!.reviews.decideReview({ id, ...words });
}

const crack = { type: 'crack', severity: Severity.SEVERE, box: { x0: 100, y0: 50, x1: 150, y1: 90 } };

test('decided reports become a data set that the trainer takes, and the profile’s plan begins', async (t) => {
  if (!at) return t.skip();
  const { profiles, reviews } = at;
  const tuning = {
    ...{ $typeName: 'landfall.vision.v1.CorrectionTuning' as const, baseModel: 'models:/eye/1.0.0' },
    ...{
      evaluationDataset: '',
      outputModel: 'eye-tuned',
      metric: 'exact_match',
      threshold: 90,
      maxRounds: 2,
    },
  };
  const { spec } = (await profiles.getProfile({ name: 'surface' })).profile!;
  await profiles.putProfile({ name: 'tuned', spec: { ...spec!, tuning } });
  const request = { profile: 'tuned', dataset: 'corrections', requestId: 'export-1' };
  await expect(reviews.exportCorrections(request)).rejects.toMatchObject({
    ...{ code: status.FAILED_PRECONDITION, reason: 'NOTHING_TO_EXPORT' },
  });
  await decided('tuned', 1, { confirm: true });
  await decided('tuned', 2, { defects: [crack] });
  // The same picture again: the newest word on it counts.
  await decided('tuned', 3, { defects: [crack] });
  await decided('tuned', 3, { defects: [] });
  const first = await reviews.exportCorrections(request);
  expect(first).toMatchObject({ dataset: 'models:/corrections/1.0.0', rows: 3, withoutImage: 0 });
  expect(first.tuningPlanId).not.toBe('');
  expect(plans.at(-1)).toMatchObject({
    ...{ metric: 'exact_match', threshold: 90, maxRounds: 2 },
    spec: { baseModel: 'models:/eye/1.0.0', trainDataset: first.dataset, outputModel: 'eye-tuned' },
  });
  const rows = (await file(first.dataset, 'rows.jsonl'))
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { image: string; messages: { role: string; content: string }[] });
  expect(rows.map(({ messages }) => messages[0])).toEqual(
    Array(3).fill({ role: 'user', content: '<image>\n检测图中产品表面的缺陷。' }),
  );
  expect(rows.map(({ messages }) => messages[1]!.content)).toEqual([
    '{"defects":[]}',
    answerOf(['crack', 'severe', [50, 50, 75, 90]]),
    scratch,
  ]);
  for (const { image } of rows)
    expect((await file(first.dataset, image)).subarray(1, 4).toString()).toBe('PNG');
  // A repeat makes nothing anew, whatever was decided since.
  await decided('tuned', 4, { confirm: true });
  expect(await reviews.exportCorrections(request)).toEqual(first);
  const corrected = await reviews.exportCorrections({
    ...request,
    requestId: 'export-2',
    correctedOnly: true,
  });
  expect(corrected).toMatchObject({ dataset: 'models:/corrections/1.1.0', rows: 2 });
}, 120_000);

async function ended(id: string) {
  let batch: Awaited<ReturnType<Stage['inspections']['getBatch']>>['batch'];
  for await (const seen of at!.inspections.watchBatch({ id })) batch = seen.batch;
  return batch!;
}

test('every image of a data set is inspected; one that is none is counted and stops no other', async (t) => {
  if (!at) return t.skip();
  const { inspections } = at;
  const files: Record<string, Buffer> = {};
  for (let i = 0; i < 6; i++) files[`images/${i}.png`] = await picture(40 + i, 30);
  files['images/bad.jpg'] = Buffer.from('no image');
  const ref = await dataset('pieces', files);
  script = (number) =>
    number % 2 ? { text: scratch, report: 0.9 } : { text: '{"defects":[]}', report: 0.1 };
  const request = { profile: 'surface', dataset: ref, deployment: 'eye', line: 'east', requestId: 'batch-1' };
  const { batch } = await inspections.startBatch(request);
  expect((await inspections.startBatch(request)).batch!.id).toBe(batch!.id);
  expect(await ended(batch!.id)).toMatchObject({
    ...{ state: BatchState.SUCCEEDED, total: 7, done: 7, failed: 1, defective: 3, dataset: ref },
    failure: expect.stringMatching(/^images\/bad\.jpg: image\.content/),
  });
  const { reports } = await inspections.listReports({ batchId: batch!.id });
  expect(new Set(reports.map(({ item }) => item))).toEqual(
    new Set(Array.from({ length: 6 }, (_, i) => `images/${i}.png`)),
  );
  expect(reports.every(({ line, author }) => line === 'east' && author === 'key:editor')).toBe(true);
  for (const wrong of [{ dataset: 'models:/nowhere/1.0.0' }, { profile: 'nowhere' }]) {
    await expect(inspections.startBatch({ ...request, requestId: '', ...wrong })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  }
}, 120_000);

test('a batch goes on after a restart where it ended, and asks nothing again; a cancelled one ends', async (t) => {
  if (!at) return t.skip();
  const files: Record<string, Buffer> = {};
  for (let i = 0; i < 12; i++) files[`${String(i).padStart(2, '0')}.png`] = await picture(60 + i, 30);
  const ref = await dataset('long', files);
  const { batch } = await at.inspections.startBatch({ profile: 'surface', dataset: ref, deployment: 'eye' });
  const { id } = batch!;
  for await (const seen of at.inspections.watchBatch({ id })) if (seen.batch!.done > 0) break;
  await at.restart();
  expect(await ended(id)).toMatchObject({ state: BatchState.SUCCEEDED, total: 12, done: 12, failed: 0 });
  expect((await at.inspections.listReports({ batchId: id })).reports).toHaveLength(12);
  const other = (await at.inspections.startBatch({ profile: 'surface', dataset: ref, deployment: 'eye' }))
    .batch!;
  await at.inspections.cancelBatch({ id: other.id });
  expect(await ended(other.id)).toMatchObject({ state: BatchState.CANCELLED });
  expect((await at.inspections.cancelBatch({ id })).batch).toMatchObject({ state: BatchState.SUCCEEDED });
}, 120_000);
