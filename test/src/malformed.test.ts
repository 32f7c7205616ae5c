import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import type { LandfallError } from '@landfall/common/errors/errors.ts';
import { openCheckpoint } from '@landfall/graph/checkpoint/checkpoint.ts';
import { writeLoraAdapter } from '@landfall/graph/checkpoint/peft.ts';
import { initialLora } from '@landfall/graph/training/lora.ts';
import { randomOf } from '@landfall/metrics/random.ts';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { TrainingError } from '@landfall/trainer/engine/train/errors.ts';
import { prepareData } from '@landfall/trainer/engine/train/prepare.ts';
import { runTraining } from '@landfall/trainer/engine/train/run.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RegistryHarness, register, uploadOf } from '../../services/registry/test/harness.ts';
import { writeTinyModel } from '../../services/trainer/test/tiny-model.ts';
import { malformedAdapters } from './malformed/adapters.ts';
import { malformedBases } from './malformed/checkpoints.ts';
import { malformedDatasets } from './malformed/datasets.ts';
import { drawOf, type Files, filesOf, type Malformed } from './malformed/files.ts';

const seed = process.env.LANDFALL_TEST_SEED ?? String(Date.now() % 1e6);
console.info(`malformed data sets and checkpoints of LANDFALL_TEST_SEED=${seed}`);

const root = mkdtempSync(join(tmpdir(), 'landfall-malformed-'));
const LORA = { r: 4, loraAlpha: 8, targetModules: ['q_proj', 'v_proj'], useRslora: false };
const MAX_LENGTH = 64;

writeTinyModel(join(root, 'base'));
const base = openCheckpoint(join(root, 'base'));
const lora = { config: LORA, tensors: initialLora(base.config, LORA, randomOf(1n)) };
writeLoraAdapter(join(root, 'adapter'), lora, 'tiny');
writeFolder('data', new Map([['rows.jsonl', Buffer.from('{"question":"问?","answer":"答。"}\n')]]));

const draw = drawOf(randomOf(BigInt(seed), 'malformed'));
const cases: Malformed[] = [
  ...malformedBases(filesOf(join(root, 'base')), draw),
  ...malformedAdapters(filesOf(join(root, 'adapter')), draw),
  ...malformedDatasets(draw),
];

let registry: RegistryHarness | undefined;
beforeAll(async () => {
  registry = await RegistryHarness.start();
  if (registry) await register(registry.client(), 'good', Kind.BASE, filesOf(join(root, 'base')));
}, 60_000);
afterAll(async () => {
  await registry?.[Symbol.asyncDispose]();
  rmSync(root, { recursive: true, force: true });
}, 60_000);

function writeFolder(name: string, files: Files): string {
  const folder = join(root, name);
  mkdirSync(folder, { recursive: true });
  for (const [path, content] of files) writeFileSync(join(folder, path), content);
  return folder;
}

/** What is told of a failure or a report holds no path of this machine and no stack. */
function expectPlain(told: string): void {
  expect(told).not.toContain(root);
  if (registry) expect(told).not.toContain(registry.folder);
  expect(told).not.toMatch(/node_modules|node:internal|\.ts:\d|ENOENT/);
}

/** One epoch over one row; what ends it. */
async function train(modelFolder: string, adapterFolder?: string): Promise<unknown> {
  const run = runTraining(
    {
      modelFolder,
      datasetFolder: join(root, 'data'),
      checkpointFolder: join(root, 'checkpoints'),
      weightCacheFolder: join(root, 'weights'),
      identity: modelFolder,
      threads: 1,
      spec: { method: 'lora', lora: LORA },
      ...(adapterFolder ? { adapterFolder } : {}),
      learningRate: 1e-3,
      schedule: 'linear',
      epochs: 1,
      batchSize: 1,
      gradientAccumulationSteps: 1,
      warmupSteps: 0,
      weightDecay: 0,
      maxGradNorm: 1,
      maxLength: MAX_LENGTH,
      seed: 1n,
      templates: [],
      checkpointSteps: 0,
      forwardPrecision: 'float32',
      executionProvider: 'cpu',
      memoryBytes: totalmem(),
    },
    () => {},
    () => false,
  );
  return run.then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Rows are reported by number where others are left, and refused where none is. */
async function prepare(datasetFolder: string): Promise<string> {
  const data = { modelFolder: join(root, 'base'), datasetFolder, templates: [], maxLength: MAX_LENGTH };
  try {
    return (await prepareData(data)).report.summary();
  } catch (error) {
    expect(error).toBeInstanceOf(TrainingError);
    return (error as TrainingError).message;
  }
}

const KINDS = { base: Kind.BASE, adapter: Kind.ADAPTER, dataset: Kind.DATASET };

test('there are at least 100', () => {
  expect(cases.length).toBeGreaterThanOrEqual(100);
});

test('what is not malformed trains', async () => {
  expect(await train(join(root, 'base'), join(root, 'adapter'))).toBeUndefined();
  rmSync(join(root, 'checkpoints'), { recursive: true });
});

describe.each(cases.map((malformed, i) => ({ ...malformed, name: `case-${i}` })))('$what', (malformed) => {
  const { name, kind, files } = malformed;

  test('the engine says what is wrong', async () => {
    const folder = writeFolder(name, files);
    let told: string;
    if (kind === 'dataset') told = await prepare(folder);
    else {
      const error = await (kind === 'base' ? train(folder) : train(join(root, 'base'), folder));
      expect(error).toBeInstanceOf(TrainingError);
      told = (error as TrainingError).message;
    }
    expect(told).toMatch(malformed.engine);
    expectPlain(told);
  });

  test('the registry says what is wrong, or leaves it to the engine', async ({ skip }) => {
    if (!registry) return skip('PostgreSQL is asked for and not installed');
    const client = registry.client();
    await client.createModel({ name, kind: KINDS[kind] });
    await client.createVersion({ name, version: '1.0.0' });
    const put = async () => {
      for (const [path, content] of files)
        await client.uploadArtifact(uploadOf({ name, version: '1.0.0', path }, content, 2 ** 20));
      const lineage = { base: kind === 'adapter' ? 'models:/good/1.0.0' : '' };
      return client.commitVersion({ name, version: '1.0.0', lineage });
    };
    const error = await put().then(
      () => undefined,
      (reason: LandfallError) => reason,
    );
    const { version } = await client.getVersion({ name, version: '1.0.0' });
    if (!malformed.registry) {
      expect(error).toBeUndefined();
      expect(version!.state).toBe(VersionState.READY);
      return;
    }
    expect(error?.code).toBe(kind === 'dataset' ? status.FAILED_PRECONDITION : status.INVALID_ARGUMENT);
    expect(error!.message).toMatch(malformed.registry);
    expectPlain(JSON.stringify([error!.message, error!.fieldViolations, error!.metadata]));
    expect(version!.state).not.toBe(VersionState.READY);
  });
});
