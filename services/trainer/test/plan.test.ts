import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { JobState, Method } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { PlanStage, PlanState, type TuningPlan } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { moreTemplates } from '../src/plan/templates.ts';
import { failure } from './calls.ts';
import { editor, smallRows, startMesh, type TestMesh } from './mesh.ts';

let mesh: TestMesh | undefined;
let base: string;
let train: string;
let validation: string;
beforeAll(async () => {
  mesh = await startMesh();
  if (!mesh) return;
  base = await mesh.base('tiny');
  train = await mesh.dataset('train', smallRows(23));
  validation = await mesh.dataset('validation', smallRows(9));
  await mesh.startWorker();
});
afterAll(() => mesh?.[Symbol.asyncDispose]());
beforeEach(() => {
  mesh?.replicas.bases.add(base);
  if (mesh) mesh.replicas.answer = () => '不知道';
});

const other: Identity = { ...editor, tenant: 'other' };
const viewer: Identity = { ...editor, role: Role.VIEWER };
const CONFIG = { rank: 1, epochs: 1, batchSize: 8, learningRate: 1e-5, seed: 3n };
const spec = (outputModel: string, changes: object = {}) => ({
  baseModel: base,
  trainDataset: train,
  method: Method.LORA,
  config: CONFIG,
  evaluation: { dataset: validation },
  outputModel,
  ...changes,
});
/** What the rows of a set say, to the versions that match; the others know nothing. */
const knowing = (versions: RegExp) => (model: string, question: string) =>
  versions.test(model) ? `回答 ${/\d+/.exec(question)![0]}。` : '不知道';

/** Follows a plan to its end, over restarts of the service. */
async function follow(id: string, seen: (plan: TuningPlan) => unknown = () => {}): Promise<TuningPlan> {
  let last: TuningPlan | undefined;
  while (!last || last.state === PlanState.RUNNING) {
    try {
      for await (const reply of mesh!.trainer.watchTuningPlan({ id })) {
        last = reply.plan!;
        expect(reply.done).toBe(last.state !== PlanState.RUNNING);
        await seen(last);
      }
    } catch (error) {
      if (!(error instanceof LandfallError) || error.code !== status.UNAVAILABLE) throw error;
    }
  }
  return last;
}

/** Jobs that make versions of a model, oldest first. */
async function jobsOf(outputModel: string) {
  const { jobs } = await mesh!.trainer.listJobs({ pageSize: 500 });
  return jobs.filter((job) => job.spec!.outputModel === outputModel).reverse();
}

describe('tuning plans', () => {
  it('goes round until the goal is met, over restarts, and takes the version to production', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry, replicas } = mesh;
    replicas.answer = knowing(/medical\/1\.1\.0/);
    const request = {
      requestId: 'plan-1',
      spec: spec('medical'),
      metric: 'bleu',
      threshold: 60,
      maxRounds: 4,
      options: { alias: 'production', deployment: 'medical-qa' },
    };
    const created = await trainer.createTuningPlan(request);
    expect(created.plan).toMatchObject({ id: created.id, state: PlanState.RUNNING, maxRounds: 4 });
    expect((await trainer.createTuningPlan(request)).id).toBe(created.id);
    const reused = trainer.createTuningPlan({ ...request, threshold: 70 });
    expect((await failure(reused)).code).toBe(status.INVALID_ARGUMENT);

    const stages = new Set<PlanStage>();
    let restarted = 0;
    const done = await follow(created.id, async (plan) => {
      stages.add(plan.stage);
      const due = plan.stage === PlanStage.TRAIN && plan.rounds.length > restarted;
      if (!due) return;
      restarted++;
      await mesh!.restartControl();
    });
    expect(restarted).toBe(2);
    expect(done.conclusion).toMatch(/bleu is 100; the goal is at least 60/);
    expect(done).toMatchObject({
      state: PlanState.SUCCEEDED,
      bestVersion: 'models:/medical/1.1.0',
      deployment: 'medical-qa',
    });
    expect(done.bestValue).toBeCloseTo(100, 6);
    expect(done.endTime).toBeDefined();
    const [first, second] = done.rounds;
    expect(done.rounds).toHaveLength(2);
    expect(first).toMatchObject({ number: 1, action: 'first', done: true, value: 0, failure: '' });
    expect(first).toMatchObject({ version: 'models:/medical/1.0.0', trainDataset: train });
    expect(first!.config).toMatchObject({ rank: 1, epochs: 1, learningRate: 1e-5 });
    expect(first!.reason).toMatch(/asked for/);
    expect(first!.lastLoss).toBeGreaterThan(0);
    expect(second!.action).not.toBe('first');
    expect(second!.reason).toMatch(/loss.*instead of/);
    expect(done.tokens).toBe(first!.tokens + second!.tokens);
    expect(first!.tokens).toBeGreaterThan(0n);
    expect((await jobsOf('medical')).map(({ id }) => id)).toEqual(done.rounds.map(({ jobId }) => jobId));

    const { version } = await registry.getVersion({ name: 'medical', version: '@production' });
    expect(version!.version).toBe('1.1.0');
    expect(replicas.deployments.get('medical-qa')).toEqual({ model: 'models:/medical/1.1.0', replicas: 2 });
    expect((await trainer.getTuningPlan({ id: created.id })).plan).toEqual(done);
    const again = await trainer.cancelTuningPlan({ id: created.id });
    expect(again.plan).toEqual(done);
  }, 120_000);

  it('keeps tenants apart and lists newest first, without rounds', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const ids: string[] = [];
    for (const name of ['l1', 'l2', 'l3']) {
      const plan = await trainer.createTuningPlan({ spec: spec(name), metric: 'chrf', threshold: 90 });
      ids.push(plan.id);
      await trainer.cancelTuningPlan({ id: plan.id });
    }
    const page = await trainer.listTuningPlans({ pageSize: 2 });
    expect(page.plans.map(({ id }) => id)).toEqual([ids[2], ids[1]]);
    expect(page.plans[0]!.rounds).toEqual([]);
    const next = await trainer.listTuningPlans({ pageSize: 2, pageToken: page.nextPageToken });
    expect(next.plans[0]!.id).toBe(ids[0]);
    const foreignToken = trainer.listJobs({ pageToken: page.nextPageToken });
    expect((await failure(foreignToken)).code).toBe(status.INVALID_ARGUMENT);
    expect((await trainer.listTuningPlans({}, { identity: other })).plans).toEqual([]);
    for (const call of [
      () => trainer.getTuningPlan({ id: ids[0]! }, { identity: other }),
      () => trainer.cancelTuningPlan({ id: ids[0]! }, { identity: other }),
      () => trainer.watchTuningPlan({ id: ids[0]! }, { identity: other })[Symbol.asyncIterator]().next(),
    ]) {
      expect((await failure(call())).code).toBe(status.NOT_FOUND);
    }
    const asViewer = trainer.cancelTuningPlan({ id: ids[0]! }, { identity: viewer });
    expect((await failure(asViewer)).code).toBe(status.PERMISSION_DENIED);
  });

  it('refuses by field what could only fail later', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, replicas } = mesh;
    const create = (changes: object, specChanges: object = {}) =>
      failure(
        trainer.createTuningPlan({
          spec: spec('refused', specChanges),
          metric: 'bleu',
          threshold: 40,
          ...changes,
        }),
      );
    const fields = async (...args: Parameters<typeof create>) => {
      const error = await create(...args);
      expect(error.code).toBe(status.INVALID_ARGUMENT);
      return error.fieldViolations.map(({ field }) => field);
    };
    expect(await fields({ metric: 'beauty' })).toEqual(['metric']);
    expect(await fields({ metric: 'judge' })).toEqual(['metric']);
    expect(await fields({ threshold: Number.NaN })).toEqual(['threshold']);
    expect(await fields({ maxRounds: 101 })).toEqual(['max_rounds']);
    expect(await fields({ maxSeconds: -1 })).toEqual(['max_seconds']);
    expect(await fields({ maxTokens: -1n })).toEqual(['max_tokens']);
    expect(await fields({ options: { alias: '../x' } })).toEqual(['options.alias']);
    expect(await fields({ options: { deployment: 'a'.repeat(65) } })).toEqual(['options.deployment']);
    expect(await fields({ options: { preparation: { validationShare: 0.2 } } })).toEqual([
      'options.preparation.validation_share',
    ]);
    expect(await fields({}, { config: { ...CONFIG, targetModules: ['nope'] } })).toEqual([
      'spec.config.target_modules',
    ]);
    expect(await fields({}, { outputModel: '../x' })).toEqual(['spec.output_model']);
    expect((await create({}, { baseModel: 'models:/nobody/1.0.0' })).code).toBe(status.NOT_FOUND);
    expect((await create({}, { baseModel: train })).reason).toBe('WRONG_KIND');
    const paraphrased = await create({ options: { paraphraseModel: train } });
    expect(paraphrased.reason).toBe('WRONG_KIND');
    const broken = await mesh.dataset('broken', [...smallRows(4), { question: 'x', answer: '' }]);
    expect((await create({}, { trainDataset: broken })).reason).toBe('BAD_ROWS');
    replicas.bases.delete(base);
    expect((await create({})).reason).toBe('BASE_NOT_DEPLOYED');
    const before = (await trainer.listTuningPlans({ pageSize: 500 })).plans;
    expect(before.filter((plan) => plan.spec!.outputModel === 'refused')).toEqual([]);
  });

  it('ends with its best and why when rounds, tokens or time are spent', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, replicas } = mesh;
    const run = async (name: string, changes: object, specChanges: object = {}) => {
      const request = { spec: spec(name, specChanges), metric: 'bleu', threshold: 90, ...changes };
      return follow((await trainer.createTuningPlan(request)).id);
    };
    // A half is known to the second version alone.
    replicas.answer = (model, question) =>
      /rounds\/1\.1\.0/.test(model) && Number(/\d+/.exec(question)![0]) % 2 === 0
        ? knowing(/./)(model, question)
        : '不知道';
    const options = { alias: 'production', deployment: 'short' };
    const rounds = await run('rounds', { maxRounds: 3, options });
    expect(rounds.conclusion).toMatch(/3 of 3 rounds are done; the best is .* \(round 2\), the goal is bleu/);
    expect(rounds).toMatchObject({ state: PlanState.FELL_SHORT, bestVersion: 'models:/rounds/1.1.0' });
    expect(rounds.bestValue).toBe(rounds.rounds[1]!.value);
    const settings = rounds.rounds.map(({ config }) => JSON.stringify({ ...config!, seed: '' }));
    expect(new Set(settings).size).toBe(3);
    expect(replicas.deployments.has('short')).toBe(false);
    const { model } = await mesh.registry.getModel({ name: 'rounds' });
    expect(model!.aliases).toEqual({});

    // One round's tokens and not two rounds': the count is exact, so one less holds none.
    const maxTokens = rounds.rounds[0]!.tokens;
    const tokens = await run('tokens', { maxTokens });
    expect(tokens).toMatchObject({ state: PlanState.FELL_SHORT, tokens: maxTokens });
    expect(tokens.conclusion).toMatch(/the tokens are spent; the best is/);
    const none = await run('none', { maxTokens: maxTokens - 1n });
    expect(none).toMatchObject({ state: PlanState.FELL_SHORT, rounds: [], bestVersion: '' });
    expect(none.conclusion).toMatch(/not begun: it would take about \d+ tokens/);

    const config = { ...CONFIG, epochs: 1000, batchSize: 1 };
    const time = await run('time', { maxSeconds: 4 }, { config });
    expect(time).toMatchObject({ state: PlanState.FELL_SHORT });
    expect(time.conclusion).toMatch(/time is spent|not begun/);
    for (const job of await jobsOf('time')) expect(job.state).toBe(JobState.CANCELLED);
  }, 120_000);

  it('prepares the data and splits off what the goal is measured on', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry, replicas } = mesh;
    replicas.answer = knowing(/./);
    const raw = await mesh.dataset('raw', [...smallRows(40), { question: '?', answer: '' }, ...smallRows(3)]);
    const request = {
      spec: spec('prepared', { trainDataset: raw, method: Method.UNSPECIFIED, evaluation: {} }),
      metric: 'exact_match',
      threshold: 0.9,
      options: { preparation: { seed: 7n, keepNearDuplicates: true } },
    };
    const done = await follow((await trainer.createTuningPlan(request)).id);
    expect(done.conclusion).toMatch(/exact_match is 1/);
    expect(done.state).toBe(PlanState.SUCCEEDED);
    expect(done.spec!.trainDataset).toBe(raw);
    expect(done.preparedDataset).toMatch(/^models:\/raw\/1\.\d+\.0$/);
    expect(done.rounds[0]!.trainDataset).toBe(done.preparedDataset);
    expect(done.rounds[0]!.reason).toMatch(/40|rows/);
    const measured = done.spec!.evaluation!.dataset;
    expect(measured).toMatch(/^models:\/raw-validation\//);
    const [, name, version] = /models:\/(.*)\/(.*)/.exec(measured)!;
    const { lineage } = (await registry.getVersion({ name: name!, version: version! })).version!;
    expect(lineage!.datasets).toMatchObject([{ ref: raw, role: 'raw' }]);
  }, 60_000);

  it('widens the data by the paraphrases of a served model when it is learnt by heart', async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry, replicas } = mesh;
    replicas.answer = (_model, question) => {
      const asked = /问题:(问题\d+\?)\n改写:/.exec(question);
      return asked ? `改写:「请问${asked[1]}」\n还有别的吗` : '不知道';
    };
    // Other answers to the same questions: the better the rows are learnt, the worse these are foretold.
    const contrary = smallRows(9).map(({ question }, i) => ({
      question,
      answer: `Nein, ${9 - i} mal nicht!`,
    }));
    const against = await mesh.dataset('contrary', contrary);
    const config = {
      ...CONFIG,
      rank: 8,
      epochs: 12,
      learningRate: 2e-2,
      keepBest: true,
      instructionTemplates: moreTemplates([], true),
    };
    const created = await trainer.createTuningPlan({
      spec: spec('widened', { config, evaluation: { dataset: against } }),
      metric: 'bleu',
      threshold: 90,
      maxRounds: 2,
      options: { paraphraseModel: base },
    });
    const done = await follow(created.id);
    expect(done.rounds.map(({ action, failure }) => [action, failure])).toEqual([
      ['first', ''],
      ['augment', ''],
    ]);
    const [first, second] = done.rounds;
    expect(first!.lastEvaluationLoss).toBeGreaterThan(first!.bestEvaluationLoss);
    expect(second!.reason).toMatch(/validation loss rose .* paraphrased by the served model/);
    expect(second!.trainDataset).not.toBe(train);
    const version = second!.trainDataset.split('/').at(-1)!;
    const found = (await registry.getVersion({ name: 'train', version })).version!;
    expect(found.lineage!.datasets).toMatchObject([{ ref: train, role: 'source' }]);
    expect(found.metrics).toMatchObject({ rows: 46, paraphrases: 23 });
    expect(found.description).toContain(base);
    expect(second!.tokens).toBeGreaterThan(first!.tokens);
  }, 60_000);

  it('does each step once where two control services go round', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    await using _second = await mesh.startSecondControl();
    const ids = [];
    for (const name of ['twice-a', 'twice-b']) {
      const request = { spec: spec(name), metric: 'bleu', threshold: 90, maxRounds: 3 };
      ids.push((await trainer.createTuningPlan(request)).id);
    }
    const plans = await Promise.all(ids.map((id) => follow(id)));
    for (const plan of plans) {
      expect(plan.rounds.map(({ number }) => number)).toEqual([1, 2, 3]);
      const jobs = await jobsOf(plan.spec!.outputModel);
      expect(jobs.map(({ id }) => id)).toEqual(plan.rounds.map(({ jobId }) => jobId));
    }
  }, 60_000);

  it('ends its running job when it is cancelled, and with it when that is', async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const config = { ...CONFIG, epochs: 1000, batchSize: 1 };
    const begin = async (name: string) => {
      const request = { spec: spec(name, { config }), metric: 'bleu', threshold: 90 };
      const { id } = await trainer.createTuningPlan(request);
      const ended = follow(id);
      const running = async () => (await trainer.getTuningPlan({ id })).plan!.rounds[0]?.firstLoss ?? 0;
      await expect.poll(running, { timeout: 20_000 }).toBeGreaterThan(0);
      return { id, ended, jobId: (await jobsOf(name))[0]!.id };
    };
    const one = await begin('cancelled-plan');
    const { plan } = await trainer.cancelTuningPlan({ id: one.id });
    expect(plan).toMatchObject({ state: PlanState.CANCELLED, conclusion: 'it was cancelled' });
    expect((await one.ended).state).toBe(PlanState.CANCELLED);
    const state = async () => (await trainer.getJob({ id: one.jobId })).job!.state;
    await expect.poll(state, { timeout: 10_000 }).toBe(JobState.CANCELLED);
    const later = (await trainer.getTuningPlan({ id: one.id })).plan!;
    expect(later.rounds).toMatchObject([{ done: true, failure: 'the job was cancelled' }]);
    expect(await jobsOf('cancelled-plan')).toHaveLength(1);

    const two = await begin('cancelled-job');
    await trainer.cancelJob({ id: two.jobId });
    const done = await two.ended;
    expect(done).toMatchObject({ state: PlanState.CANCELLED });
    expect(done.conclusion).toMatch(/job of round 1 was cancelled/);
  }, 60_000);
});
