import { createHash } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { JobState, Method } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, filesOf, follow, followKilled } from './calls.ts';
import { smallRows, startMesh, type TestMesh } from './mesh.ts';
import type { ServiceProcess } from './processes.ts';
import { ANSWERS, QUESTION, stripesFiles } from './stripes.ts';

let mesh: TestMesh | undefined;
let base: string;
let train: string;
let validation: string;
let worker: ServiceProcess | undefined;
/** What each image of the validation set shows, by its digest. */
const truths = new Map<string, string>();
beforeAll(async () => {
  mesh = await startMesh();
  if (!mesh) return;
  base = await mesh.base('seeing', 'llava');
  train = await mesh.datasetOf('stripes', await stripesFiles(24, 1n));
  const held = await stripesFiles(8, 2n);
  validation = await mesh.datasetOf('stripes-held-out', held);
  for (const [name, bytes] of held) {
    const row = /^images\/(\d+)\.png$/.exec(name)?.[1];
    if (row) truths.set(digestOf(bytes), ANSWERS[Number(row) % 2]!);
  }
  mesh.replicas.bases.add(base);
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const digestOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
const CONFIG = { rank: 4, epochs: 4, batchSize: 6, learningRate: 1e-2, seed: 3n, checkpointSteps: 3 };
const spec = (outputModel: string, changes: object = {}) => ({
  baseModel: base,
  trainDataset: train,
  method: Method.LORA,
  config: { ...CONFIG, instructionTemplates: ['chat'] },
  outputModel,
  ...changes,
});

describe('the trainer, over rows with images', () => {
  it('advises methods that a model that reads images can be tuned by', async (t) => {
    if (!mesh) return t.skip();
    const advice = await mesh.trainer.recommendMethod({ baseModel: base, dataset: train });
    expect(advice).toMatchObject({ method: Method.LORA, rows: 24n });
    const methods = advice.options.map(({ method }) => method);
    expect(methods).toEqual([Method.LORA, Method.QLORA, Method.FROZEN, Method.FULL]);
    const full = advice.options.at(-1)!;
    // Decoder, tower and projector.
    expect(full.trainableParameters).toBeGreaterThan(20_000n);
    expect(advice.totalParameters).toBeGreaterThanOrEqual(full.trainableParameters);
  });

  it('refuses what could only fail later, by name and row', async (t) => {
    if (!mesh) return t.skip();
    const refuse = (changes: object) => failure(mesh!.trainer.createJob({ spec: spec('out', changes) }));
    const fieldOf = async (changes: object) => (await refuse(changes)).fieldViolations[0]!.field;
    expect(await fieldOf({ config: { ...CONFIG, towerLayers: 3 } })).toBe('spec.config.tower_layers');
    const whole = { config: { epochs: 1, towerLayers: 1 }, method: Method.FULL };
    expect(await fieldOf(whole)).toBe('spec.config.tower_layers');
    expect(await fieldOf({ method: Method.PTUNING_V2, config: {} })).toBe('spec.method');
    const text = await mesh.base('reading');
    const config = { ...CONFIG, trainProjector: true };
    const trainDataset = await mesh.dataset('texts', smallRows(8));
    expect(await fieldOf({ baseModel: text, trainDataset, config })).toBe('spec.config.train_projector');
    const blind = await refuse({ baseModel: text });
    expect(blind.code).toBe(status.FAILED_PRECONDITION);
    expect(blind.message).toMatch(/row 1 shows an image, and models:\/reading.* reads text alone/);
    const files = await stripesFiles(4, 5n);
    files.set('images/2.png', files.get('images/2.png')!.subarray(0, 70));
    files.delete('images/3.png');
    const broken = await mesh.datasetOf('broken', files);
    const refusal = await refuse({ trainDataset: broken });
    expect(refusal).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'BAD_ROWS' });
    expect(refusal.fieldViolations.map(({ field }) => field)).toEqual(['rows[3]', 'rows[4]']);
  });

  it('keeps images with the rows that preparation keeps', async (t) => {
    if (!mesh) return t.skip();
    const prepared = await mesh.trainer.prepareDataset({
      dataset: train,
      options: { validationShare: 0.25, seed: 4n },
    });
    expect(prepared).toMatchObject({ rowsIn: 24n, rowsOut: 24n, validationRows: 6n });
    const shown: string[] = [];
    for (const [ref, rows] of [
      [prepared.dataset, 18],
      [prepared.validationDataset, 6],
    ] as const) {
      const [name, version] = ref.replace('models:/', '').split('/') as [string, string];
      const found = await mesh.registry.getVersion({ name, version });
      const images = found.version!.manifest!.files.filter(({ path }) => path.startsWith('images/'));
      expect(images).toHaveLength(rows);
      shown.push(...images.map(({ digest }) => digest));
    }
    expect(new Set(shown).size).toBe(24);
  });

  it('trains, asks with the images, and registers an adapter', { timeout: 240_000 }, async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry, replicas } = mesh;
    // The tuned model answers by what it is shown; the base does not.
    replicas.answer = (model, question, images) =>
      model === base || question !== QUESTION ? '?' : truths.get(digestOf(images[0]!))!;
    const evaluation = { dataset: validation, includeBase: true, maxTokens: 8 };
    worker = await mesh.startWorker();
    const { job } = await trainer.createJob({ spec: spec('striped', { evaluation }) });
    const done = await follow(mesh, job!.id);
    expect(done.failure).toBe('');
    expect(done).toMatchObject({ state: JobState.SUCCEEDED, outputVersion: 'models:/striped/1.0.0' });
    const whole = (await trainer.getJob({ id: job!.id })).job!;
    const looks = whole.evaluationLoss.map(({ value }) => value);
    expect(looks.at(-1)).toBeLessThan(looks[0]!);
    expect(done.tunedResult).toMatchObject({ exactMatch: 1, rows: 8 });
    expect(done.baseResult).toMatchObject({ exactMatch: 0, rows: 8 });
    const { version } = await registry.getVersion({ name: 'striped' });
    expect(version).toMatchObject({ kind: Kind.ADAPTER, state: VersionState.READY });
    expect(version!.lineage).toMatchObject({ base, method: 'lora' });
  });

  it('goes on after a kill -9 of its worker to the same bits', { timeout: 240_000 }, async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const evaluation = { dataset: validation, includeBase: true, maxTokens: 8 };
    const again = await trainer.createJob({ spec: spec('striped-again', { evaluation }) });
    const resumed = await followKilled(mesh, again.job!.id, { worker: worker!, step: 4 });
    expect(resumed.job).toMatchObject({ state: JobState.SUCCEEDED, attempts: 2 });
    expect(await filesOf(mesh, 'striped-again')).toEqual(await filesOf(mesh, 'striped'));
  });

  it('registers a model of its own where projector and tower train too', { timeout: 240_000 }, async (t) => {
    if (!mesh) return t.skip();
    const config = { ...CONFIG, epochs: 2, trainProjector: true, towerLayers: 1 };
    const { job } = await mesh.trainer.createJob({ spec: spec('sharp-eyed', { config }) });
    const done = await follow(mesh, job!.id);
    expect(done.failure).toBe('');
    const { version } = await mesh.registry.getVersion({ name: 'sharp-eyed' });
    expect(version).toMatchObject({ kind: Kind.BASE, state: VersionState.READY });
    const paths = version!.manifest!.files.map(({ path }) => path);
    expect(paths.toSorted()).toEqual([
      'config.json',
      'model.safetensors',
      'preprocessor_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });
});
