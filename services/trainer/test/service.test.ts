import { status } from '@grpc/grpc-js';
import { Broker } from '@landfall/common/events/broker.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { JobState, Method, Stage } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, follow } from './calls.ts';
import { editor, smallRows, startMesh, type TestMesh } from './mesh.ts';
import type { ServiceProcess } from './processes.ts';

let mesh: TestMesh | undefined;
let base: string;
let train: string;
let validation: string;
beforeAll(async () => {
  mesh = await startMesh();
  if (!mesh) return;
  base = await mesh.base('tiny');
  train = await mesh.dataset('train', [...smallRows(23), ...smallRows(3)]);
  validation = await mesh.dataset('validation', smallRows(9));
  mesh.replicas.bases.add(base);
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const other: Identity = { ...editor, tenant: 'other' };
const viewer: Identity = { ...editor, role: Role.VIEWER };
/** What a kill asks of the database shows in a few; the bits of the result, which it has no part in, want many. */
const KILLS = process.env.LANDFALL_TEST_DATABASE === 'postgres' ? 4 : 20;
const CONFIG = { rank: 4, epochs: 4, batchSize: 4, learningRate: 5e-3, seed: 3n, checkpointSteps: 3 };
const spec = (outputModel: string, changes: object = {}) => ({
  baseModel: base,
  trainDataset: train,
  method: Method.LORA,
  config: CONFIG,
  outputModel,
  ...changes,
});

describe('the trainer', () => {
  it('advises LoRA for few rows, with settings, a reason and an estimate', async (t) => {
    if (!mesh) return t.skip();
    const advice = await mesh.trainer.recommendMethod({ baseModel: base, dataset: train });
    expect(advice).toMatchObject({ method: Method.LORA, rows: 23n });
    expect(advice.config).toMatchObject({ rank: 16, loraAlpha: 32, targetModules: ['all-linear'] });
    expect(advice.reason).toMatch(/23 rows/);
    expect(Number(advice.estimatedMemoryBytes)).toBeGreaterThan(2 ** 20);
    expect(advice.estimatedSeconds).toBeGreaterThan(0);
    expect(advice.trainableParameters).toBeLessThan(advice.totalParameters);
    const methods = [];
    for (const rows of [200_000n, 50_000n, 500n]) {
      methods.push((await mesh.trainer.recommendMethod({ baseModel: base, rows })).method);
    }
    expect(methods).toEqual([Method.FULL, Method.FROZEN, Method.LORA]);
    expect((await failure(mesh.trainer.recommendMethod({ baseModel: base }))).code).toBe(
      status.INVALID_ARGUMENT,
    );
  });

  it('prepares a data set: a report by row, and a version with lineage that a repeat finds again', async (t) => {
    if (!mesh) return t.skip();
    const raw = await mesh.dataset('raw', [
      { question: 'a', answer: 'b' },
      { question: 'a', answer: 'b' },
      { question: 'c', answer: ' ' },
      { question: 'd' },
      { question: 'e', answer: 'f' },
    ]);
    const dry = await mesh.trainer.prepareDataset({ dataset: raw, dryRun: true });
    expect(dry).toMatchObject({ dataset: '', rowsIn: 5n, rowsOut: 2n });
    expect(dry.issues.map(({ row, code }) => `${row} ${code}`)).toEqual([
      '2 duplicate',
      '3 empty_answer',
      '4 missing_field',
    ]);
    const prepared = await mesh.trainer.prepareDataset({ dataset: raw });
    expect(prepared.dataset).toMatch(/^models:\/raw\/1\.\d+\.0$/);
    expect((await mesh.trainer.prepareDataset({ dataset: raw })).dataset).toBe(prepared.dataset);
    const version = prepared.dataset.split('/').at(-1)!;
    const found = await mesh.registry.getVersion({ name: 'raw', version });
    expect(found.version!.lineage!.datasets).toMatchObject([{ ref: raw, role: 'raw' }]);
    const same = await mesh.dataset('same', new Array(7).fill({ question: 'q', answer: 'a' }));
    expect(await failure(mesh.trainer.prepareDataset({ dataset: same }))).toMatchObject({
      code: status.FAILED_PRECONDITION,
      reason: 'BAD_ROWS',
    });
  });

  it('refuses what could only fail later, by name and row', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const create = (changes: object) => failure(trainer.createJob({ spec: spec('out', changes) }));
    expect((await create({ baseModel: 'models:/nobody/1.0.0' })).code).toBe(status.NOT_FOUND);
    expect((await create({ baseModel: train })).code).toBe(status.FAILED_PRECONDITION);
    expect((await create({ config: { ...CONFIG, targetModules: ['nope'] } })).fieldViolations[0]!.field).toBe(
      'spec.config.target_modules',
    );
    expect((await create({ config: { ...CONFIG, maxLength: 4000 } })).code).toBe(status.INVALID_ARGUMENT);
    expect((await create({ config: { ...CONFIG, learningRate: Number.NaN } })).code).toBe(
      status.INVALID_ARGUMENT,
    );
    expect((await create({ outputModel: '../x' })).code).toBe(status.INVALID_ARGUMENT);
    expect((await create({ outputModel: 'train' })).reason).toBe('WRONG_KIND');
    const broken = await mesh.dataset('broken', [...smallRows(4), { question: 'x', answer: '' }]);
    const refusal = await create({ trainDataset: broken });
    expect(refusal).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'BAD_ROWS' });
    expect(refusal.fieldViolations).toMatchObject([{ field: 'rows[5]' }]);
    mesh.replicas.bases.delete(base);
    expect((await create({ evaluation: { dataset: validation } })).reason).toBe('BASE_NOT_DEPLOYED');
    mesh.replicas.bases.add(base);
    const asViewer = trainer.createJob({ spec: spec('out') }, { identity: viewer });
    expect((await failure(asViewer)).code).toBe(status.PERMISSION_DENIED);
  });

  it('trains, evaluates on replicas and registers, telling how far it is', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry, replicas } = mesh;
    await using broker = await Broker.connect(mesh.natsUrl, 'test', createLogger('test', 'silent'));
    const events: Record<string, unknown>[] = [];
    const subscription = broker.connection.subscribe('landfall.trainer.job.finished.v1', {
      callback: (_error, message) => void events.push(message.json()),
    });
    // The base knows nothing; the tuned model knows all but one answer. The first replica dies for a moment.
    replicas.answer = (model, question) => {
      const row = Number(/\d+/.exec(question)![0]);
      return model === base || row === 4 ? '不知道' : `回答 ${row}。`;
    };
    replicas.failFirst = 2;
    const request = {
      requestId: 'job-1',
      spec: spec('medical', { evaluation: { dataset: validation, includeBase: true } }),
    };
    const { job } = await trainer.createJob(request);
    expect(job).toMatchObject({ state: JobState.QUEUED, attempts: 0 });
    expect(job!.spec!.config).toMatchObject({ loraAlpha: 8, targetModules: ['all-linear'], maxLength: 256 });
    expect((await trainer.createJob(request)).job!.id).toBe(job!.id);
    const reused = trainer.createJob({ ...request, spec: spec('elsewhere') });
    expect((await failure(reused)).code).toBe(status.INVALID_ARGUMENT);

    await using _worker = await mesh.startWorker();
    const stages = new Set<Stage>();
    const steps: number[] = [];
    let percent = 0;
    const done = await follow(mesh, job!.id, (seen) => {
      stages.add(seen.progress!.stage);
      steps.push(...seen.loss.map((point) => point.step));
      expect(seen.progress!.percent).toBeGreaterThanOrEqual(percent);
      percent = seen.progress!.percent;
    });
    expect(done.failure).toBe('');
    expect(done).toMatchObject({
      state: JobState.SUCCEEDED,
      attempts: 1,
      outputVersion: 'models:/medical/1.0.0',
    });
    expect(steps).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
    expect([...stages]).toEqual(expect.arrayContaining([Stage.EVALUATE]));
    expect(done.progress).toMatchObject({
      step: 24,
      totalSteps: 24,
      epoch: 4,
      percent: 100,
      remainingSeconds: 0,
    });

    const whole = (await trainer.getJob({ id: job!.id, includeRows: true })).job!;
    expect(whole.loss.at(-1)!.value).toBeLessThan(whole.loss[0]!.value);
    expect(whole.learningRate.map((point) => point.step)).toEqual(whole.loss.map((point) => point.step));
    expect(whole.baseResult).toMatchObject({ model: base, bleu: 0, rows: 9 });
    expect(whole.tunedResult!.bleu).toBeGreaterThan(80);
    expect(whole.tunedResult!.exactMatch).toBeCloseTo(8 / 9, 10);
    expect(whole.tunedResult!.rowResults.map((row) => row.row)).toEqual([...Array(9).keys()]);
    expect(whole.tunedResult!.rowResults[4]).toMatchObject({ output: '不知道', reference: '回答 4。' });
    expect(whole.trainedTime).toBeDefined();

    const { version } = await registry.getVersion({ name: 'medical', version: '1.0.0' });
    expect(version).toMatchObject({ state: VersionState.READY });
    expect(version!.lineage).toMatchObject({ base, jobId: job!.id, method: 'lora' });
    expect(version!.lineage!.datasets.map(({ ref, role }) => [ref, role])).toEqual([
      [train, 'train'],
      [validation, 'validation'],
    ]);
    expect(version!.metrics).toMatchObject({ bleu: whole.tunedResult!.bleu, base_bleu: 0 });
    expect(version!.manifest!.files.map((file) => file.path)).toEqual([
      'adapter_config.json',
      'adapter_model.safetensors',
    ]);
    await expect.poll(() => events).toHaveLength(1);
    expect(events[0]).toMatchObject({
      jobId: job!.id,
      state: 'succeeded',
      outputVersion: 'models:/medical/1.0.0',
    });
    subscription.unsubscribe();

    const again = await trainer.evaluate({
      model: 'models:/medical/1.0.0',
      evaluation: { dataset: validation },
    });
    expect(again.result!.bleu).toBe(whole.tunedResult!.bleu);
  });

  it('lists jobs in pages and keeps tenants apart', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const ids = [];
    for (const name of ['p1', 'p2', 'p3']) ids.push((await trainer.createJob({ spec: spec(name) })).job!.id);
    const first = await trainer.listJobs({ pageSize: 2, state: JobState.QUEUED });
    expect(first.jobs.map((job) => job.id)).toEqual([ids[2], ids[1]]);
    const second = await trainer.listJobs({
      pageSize: 2,
      state: JobState.QUEUED,
      pageToken: first.nextPageToken,
    });
    expect(second.jobs.map((job) => job.id)).toEqual([ids[0]]);
    expect(second.nextPageToken).toBe('');
    const elsewhere = trainer.listJobs({ pageToken: first.nextPageToken });
    expect((await failure(elsewhere)).code).toBe(status.INVALID_ARGUMENT);
    expect((await trainer.listJobs({}, { identity: other })).jobs).toEqual([]);
    const foreign = trainer.getJob({ id: ids[0]! }, { identity: other });
    expect((await failure(foreign)).code).toBe(status.NOT_FOUND);
    // Cancelled while they wait: at once, and a worker finds nothing to do.
    for (const id of ids) {
      expect((await trainer.cancelJob({ id })).job!.state).toBe(JobState.CANCELLED);
      expect((await trainer.cancelJob({ id })).job!.state).toBe(JobState.CANCELLED);
    }
  });

  it('cancels a running job after its step in hand', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const config = { ...CONFIG, epochs: 1000 };
    const { job } = await trainer.createJob({ spec: spec('cancelled', { config }) });
    await using _worker = await mesh.startWorker();
    let asked = false;
    const done = await follow(mesh, job!.id, ({ progress }) => {
      if (asked || progress!.step < 2) return;
      asked = true;
      void trainer.cancelJob({ id: job!.id });
    });
    expect(done.state).toBe(JobState.CANCELLED);
    expect(done.progress!.step).toBeLessThan(1000);

    // The same worker goes on with the next job, whose rows leave nothing to learn within so few tokens.
    const masked = await trainer.createJob({ spec: spec('masked', { config: { ...CONFIG, maxLength: 8 } }) });
    const failed = await follow(mesh, masked.job!.id);
    expect(failed.state).toBe(JobState.FAILED);
    expect(failed.failure).toMatch(/no row has a label left to learn: .*23 no_label \(rows 1, 2, 3/);
    expect(failed.outputVersion).toBe('');
  });

  it('stops the deployment of an evaluation whose worker died, once its job has ended', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, replicas } = mesh;
    const { job } = await trainer.createJob({ spec: spec('left-behind') });
    const [own, other] = [`evaluation-${job!.id}`, 'evaluation-of-another'];
    for (const name of [own, other])
      replicas.deployments.set(name, { model: 'models:/draft/1.0.0', replicas: 1 });
    const stopped = Promise.withResolvers<string>();
    replicas.stopped = stopped.resolve;
    await trainer.cancelJob({ id: job!.id });
    expect(await stopped.promise).toBe(own);
    expect(replicas.deployments.has(other)).toBe(true);
    replicas.deployments.delete(other);
    delete replicas.stopped;
  });

  it('gives a job to the newest attempt and refuses older ones', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, worker } = mesh;
    const service: Identity = { subject: 'service:trainer', tenant: '', role: Role.SERVICE };
    const { job } = await trainer.createJob({ spec: spec('fenced') });
    const jobId = job!.id;
    const [first, second] = ['0d7be6f8-6a3a-4e94-8c1c-6c0ad5f0b001', '0d7be6f8-6a3a-4e94-8c1c-6c0ad5f0b002'];
    const as = { identity: service };
    expect((await failure(worker.startAttempt({ jobId, attemptId: first! }))).code).toBe(
      status.PERMISSION_DENIED,
    );
    expect((await worker.startAttempt({ jobId, attemptId: first! }, as)).tenant).toBe(editor.tenant);
    await worker.startAttempt({ jobId, attemptId: second! }, as);
    const stale = worker.reportProgress({ jobId, attemptId: first! }, as);
    expect((await failure(stale)).code).toBe(status.ABORTED);
    const points = [{ step: 1, epoch: 0.5, value: 2 }];
    await worker.reportProgress({ jobId, attemptId: second!, loss: points }, as);
    await worker.reportProgress({ jobId, attemptId: second!, loss: [{ ...points[0]!, value: 3 }] }, as);
    await worker.finishAttempt({ jobId, attemptId: second!, state: JobState.FAILED, failure: 'why' }, as);
    await worker.finishAttempt({ jobId, attemptId: second!, state: JobState.FAILED, failure: 'why' }, as);
    const ended = (await trainer.getJob({ id: jobId })).job!;
    expect(ended).toMatchObject({ state: JobState.FAILED, failure: 'why', attempts: 2 });
    expect(ended.loss.map((point) => point.value)).toEqual([3]);
    expect((await failure(worker.startAttempt({ jobId, attemptId: first! }, as))).code).toBe(
      status.FAILED_PRECONDITION,
    );
  });

  it(`goes on after ${KILLS} kill -9 of its worker and a restart of its control service, to the same bits`, async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry } = mesh;
    const seed = Date.now() % 100_000;
    console.info(`seed ${seed}`);
    const config = { ...CONFIG, epochs: 60, checkpointSteps: 7 };
    let worker: ServiceProcess = await mesh.startWorker();
    const digestOf = async (name: string) => {
      const { version } = await registry.getVersion({ name });
      return version!.manifest!.files.find((file) => file.path.endsWith('.safetensors'))!.digest;
    };
    const unbroken = await trainer.createJob({ spec: spec('unbroken', { config }) });
    expect((await follow(mesh, unbroken.job!.id)).state).toBe(JobState.SUCCEEDED);

    const { job } = await trainer.createJob({ spec: spec('killed', { config }) });
    const id = job!.id;
    const total = 360;
    for (let kill = 1; kill <= KILLS; kill++) {
      const at = Math.floor((total * kill) / (KILLS + 2) + ((seed * kill) % 10));
      // Each worker has taken the job before it is killed, wherever the one before was.
      const stepOf = async () => {
        const { attempts, progress } = (await trainer.getJob({ id })).job!;
        return attempts >= kill ? progress!.step : -1;
      };
      await expect
        .poll(stepOf, {
          timeout: 90_000,
          interval: 20,
        })
        .toBeGreaterThan(at);
      await worker.kill();
      if (kill === KILLS / 2) await mesh.restartControl();
      worker = await mesh.startWorker();
    }
    const done = await follow(mesh, id);
    expect(done.failure).toBe('');
    expect(done.state).toBe(JobState.SUCCEEDED);
    // A worker that is starved for its ack wait loses its job too: then there are more.
    expect(done.attempts).toBeGreaterThan(KILLS);
    expect(await digestOf('killed')).toBe(await digestOf('unbroken'));
    const [a, b] = await Promise.all([unbroken.job!.id, id].map((jobId) => trainer.getJob({ id: jobId })));
    expect(b!.job!.loss.map((point) => point.value)).toEqual(a!.job!.loss.map((point) => point.value));
    // A worker that is told to stop hands its job back and ends by itself.
    const last = await trainer.createJob({ spec: spec('handed', { config: { ...config, epochs: 200 } }) });
    await expect
      .poll(async () => (await trainer.getJob({ id: last.job!.id })).job!.progress!.step, { timeout: 30_000 })
      .toBeGreaterThan(3);
    expect(await worker.stop()).toBe(0);
    expect((await trainer.getJob({ id: last.job!.id })).job!.state).toBe(JobState.RUNNING);
  }, 600_000);
});
