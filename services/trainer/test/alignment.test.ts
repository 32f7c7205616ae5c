import { status } from '@grpc/grpc-js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { Augmentation, ClassSampling, JobState, Method } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { failure, filesOf, follow, followKilled } from './calls.ts';
import { smallRows, startMesh, type TestMesh } from './mesh.ts';
import type { ServiceProcess } from './processes.ts';
import { captionOf, surfaceFiles } from './tiny-clip.ts';

let mesh: TestMesh | undefined;
let base: string;
let train: string;
let held: string;
let worker: ServiceProcess | undefined;
beforeAll(async () => {
  mesh = await startMesh();
  if (!mesh) return;
  base = await mesh.base('clip', 'clip');
  // One material is scarce.
  const counts = { metal: 80, casting: 80, fabric: 80, circuit: 20 };
  train = await mesh.datasetOf('surfaces', await surfaceFiles(counts, 1));
  held = await mesh.datasetOf(
    'surfaces-held-out',
    await surfaceFiles({ metal: 8, casting: 8, fabric: 8, circuit: 8 }, 2),
  );
}, 600_000);
afterAll(() => mesh?.[Symbol.asyncDispose]());

/** A first call fetches every image: a busy machine takes its time. */
const PATIENT = { timeoutMs: 240_000 };
const CONFIG = { epochs: 25, batchSize: 26, learningRate: 1e-3, weightDecay: 0.1, warmupSteps: 5, seed: 5n };
const evaluation = () => ({ dataset: held, includeBase: true, classTemplates: ['a surface of {label}'] });
const spec = (outputModel: string, changes: object = {}) => ({
  baseModel: base,
  trainDataset: train,
  method: Method.FULL,
  config: CONFIG,
  outputModel,
  ...changes,
});

describe('the trainer, over images and captions', () => {
  it('advises methods, and balance where a class is scarce', { timeout: 300_000 }, async (t) => {
    if (!mesh) return t.skip();
    const advice = await mesh.trainer.recommendMethod({ baseModel: base, dataset: train }, PATIENT);
    expect(advice).toMatchObject({ method: Method.LORA, rows: 260n });
    expect(advice.options.map(({ method }) => method)).toEqual([Method.LORA, Method.FROZEN, Method.FULL]);
    expect(advice.config).toMatchObject({
      classSampling: ClassSampling.BALANCED,
      augmentation: Augmentation.REPEATED,
      trainProjector: true,
    });
    const few = await mesh.trainer.recommendMethod({ baseModel: base, rows: 200_000n });
    expect(few).toMatchObject({ method: Method.FULL, config: { classSampling: ClassSampling.UNIFORM } });
    const other = await failure(
      mesh.trainer.recommendMethod({ baseModel: base, rows: 9n, method: Method.QLORA }),
    );
    expect(other.code).toBe(status.INVALID_ARGUMENT);
  });

  it('refuses what could only fail later, by field and row', { timeout: 300_000 }, async (t) => {
    if (!mesh) return t.skip();
    const refuse = (changes: object) =>
      failure(mesh!.trainer.createJob({ spec: spec('out', { trainDataset: held, ...changes }) }, PATIENT));
    const fieldOf = async (changes: object) => {
      const error = await refuse(changes);
      expect(error.code).toBe(status.INVALID_ARGUMENT);
      return error.fieldViolations[0]!.field;
    };
    const fields: [object, string][] = [
      [{ method: Method.QLORA }, 'spec.method'],
      [{ method: Method.PTUNING_V2 }, 'spec.method'],
      [{ config: { rank: 4 } }, 'spec.config.rank'],
      [{ config: { batchSize: 1 } }, 'spec.config.batch_size'],
      [{ config: { maxLength: 33 } }, 'spec.config.max_length'],
      [{ config: { instructionTemplates: ['{question}'] } }, 'spec.config.instruction_templates'],
      [{ method: Method.FROZEN, config: { towerLayers: 3 } }, 'spec.config.tower_layers'],
      [{ method: Method.FROZEN, config: { textLayers: 3 } }, 'spec.config.text_layers'],
      [{ method: Method.LORA, config: { targetModules: ['o_proj'] } }, 'spec.config.target_modules'],
      [{ replay: { datasets: [train] } }, 'spec.replay'],
      [{ evaluation: { dataset: held, safety: true } }, 'spec.evaluation.safety'],
      [{ evaluation: { dataset: held, classTemplates: ['a class'] } }, 'spec.evaluation.class_templates[0]'],
      [
        { evaluation: { dataset: held, gates: [{ metric: 'bleu', threshold: 1 }] } },
        'spec.evaluation.gates[0].metric',
      ],
    ];
    for (const [changes, field] of fields) expect(await fieldOf(changes)).toBe(field);
    const texts = await mesh.dataset('texts', smallRows(8));
    const notPairs = await refuse({ trainDataset: texts });
    expect(notPairs).toMatchObject({ code: status.FAILED_PRECONDITION });
    expect(notPairs.message).toMatch(/row 1 is no image with its caption/);
    const answers = await refuse({
      baseModel: await mesh.base('reading'),
      method: Method.LORA,
      config: { epochs: 1 },
    });
    expect(answers.message).toMatch(/row 1 is an image with its caption, and models:\/reading.* is no CLIP/);
    const plan = { spec: spec('out'), metric: 'bleu', threshold: 1 };
    expect((await failure(mesh.trainer.createTuningPlan(plan))).fieldViolations[0]!.field).toBe(
      'spec.base_model',
    );
  });

  it('names rows that are no pairs, and prepares what is left', { timeout: 300_000 }, async (t) => {
    if (!mesh) return t.skip();
    const files = await surfaceFiles({ metal: 3, casting: 3, fabric: 3 }, 7);
    files.set('images/torn.png', files.get('images/0.png')!.subarray(0, 90));
    // The same bytes under another name.
    files.set('images/copy.png', files.get('images/1.png')!);
    const rows = files.get('rows.jsonl')!.toString().trim().split('\n');
    const more = [
      { image: 'images/2.png', caption: '' },
      { image: 'images/torn.png', caption: 'torn' },
      { image: 'images/none.png', caption: 'none' },
      { image: '../images/0.png', caption: 'outside' },
      { caption: 'nothing to see' },
      { image: 'images/3.png' },
      { image: 'images/copy.png', caption: captionOf('casting'), label: 'casting' },
      { image: 'images/copy.png', caption: 'something else', label: 'metal' },
      { image: 'images/copy.png', caption: 'grey, cast; write to jane.doe@example.com', label: 'casting' },
      { image: 'images/4.png', images: ['images/5.png'], caption: 'two' },
    ];
    files.set('rows.jsonl', Buffer.from([...rows, ...more.map((row) => JSON.stringify(row))].join('\n')));
    const dataset = await mesh.datasetOf('untidy', files);
    const refusal = await failure(mesh.trainer.createJob({ spec: spec('out', { trainDataset: dataset }) }));
    expect(refusal).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'BAD_ROWS' });
    const prepared = await mesh.trainer.prepareDataset({
      dataset,
      options: { validationShare: 0.3, seed: 1n },
    });
    expect(prepared.issues.map(({ row, code }) => `${row} ${code}`)).toEqual([
      '10 empty_caption',
      '11 broken_image',
      '12 missing_image',
      '13 image_path',
      '14 missing_field',
      '15 missing_field',
      '16 duplicate',
      '17 label_conflict',
      '18 repeated_image',
      '18 personal_data',
      '19 image_path',
    ]);
    expect(prepared).toMatchObject({ rowsIn: 19n, rowsOut: 10n });
    expect(prepared.statistics!.after!.classes).toMatchObject({ metal: 3n, casting: 4n, fabric: 3n });
    // Both rows of an image are on one side, with the image.
    const [training, validation] = await Promise.all(
      [prepared.dataset, prepared.validationDataset].map(async (ref) => {
        const [name, version] = ref.replace('models:/', '').split('/') as [string, string];
        const found = await mesh!.registry.getVersion({ name, version });
        return found.version!.manifest!.files.filter(({ path }) => path.startsWith('images/'));
      }),
    );
    const digests = new Set(training!.map(({ digest }) => digest));
    expect(validation!.length).toBeGreaterThan(0);
    expect(validation!.filter(({ digest }) => digests.has(digest))).toEqual([]);
    expect(prepared.report).not.toContain('jane');
    const again = await mesh.trainer.recommendMethod({ baseModel: base, dataset: prepared.dataset });
    expect(again.rows).toBe(prepared.rowsOut - prepared.validationRows);
  });

  it('aligns a CLIP: held-out images find their captions, and it is registered', {
    timeout: 600_000,
  }, async (t) => {
    if (!mesh) return t.skip();
    worker = await mesh.startWorker();
    const gates = [{ metric: 'image_to_text_recall_at_1', threshold: 0.6 }];
    const asked = spec('aligned', { evaluation: { ...evaluation(), gates } });
    const { job } = await mesh.trainer.createJob({ spec: asked }, PATIENT);
    expect(job!.spec!.config).toMatchObject({ classSampling: ClassSampling.BALANCED });
    const done = await follow(mesh, job!.id);
    expect(done.failure).toBe('');
    expect(done).toMatchObject({ state: JobState.SUCCEEDED, outputVersion: 'models:/aligned/1.0.0' });
    expect(done.progress).toMatchObject({ percent: 100, step: 250, totalSteps: 250 });
    expect(done.progress!.rowsPerSecond).toBeGreaterThan(0);
    const whole = (await mesh.trainer.getJob({ id: job!.id })).job!;
    expect(whole.loss).toHaveLength(250);
    const looks = whole.evaluationLoss.map(({ value }) => value);
    expect(looks.at(-1)).toBeLessThan(looks[0]!);
    const [before, after] = [done.baseResult!, done.tunedResult!];
    expect(after).toMatchObject({ rows: 32, dataset: held, model: 'models:/aligned/1.0.0' });
    expect(after.retrieval).toMatchObject({ images: 32, texts: 4, classes: 4 });
    // One caption of four fits: an untrained CLIP finds a quarter, give or take.
    expect(before.retrieval!.imageToTextRecallAt1).toBeLessThan(0.4);
    expect(after.retrieval!.imageToTextRecallAt1).toBeGreaterThan(0.7);
    expect(after.retrieval!.textToImageRecallAt1).toBeGreaterThanOrEqual(0.75);
    expect(after.retrieval!.zeroShotAccuracy).toBe(after.retrieval!.imageToTextRecallAt1);
    const { version } = await mesh.registry.getVersion({ name: 'aligned' });
    expect(version).toMatchObject({ kind: Kind.BASE, state: VersionState.READY });
    expect(version!.lineage).toMatchObject({ base, method: 'full', jobId: job!.id });
    expect(version!.metrics.base_image_to_text_recall_at_1).toBe(before.retrieval!.imageToTextRecallAt1);
    const paths = version!.manifest!.files.map(({ path }) => path);
    expect(paths.toSorted()).toEqual([
      ...['config.json', 'model.safetensors', 'preprocessor_config.json'],
      ...['tokenizer.json', 'tokenizer_config.json'],
    ]);
  });

  it('measures any version as its job did, and compares it with its base image by image', {
    timeout: 600_000,
  }, async (t) => {
    if (!mesh) return t.skip();
    const { trainer, registry } = mesh;
    const { version } = await registry.getVersion({ name: 'aligned' });
    const request = {
      evaluation: { dataset: held, classTemplates: ['a surface of {label}'] },
      requestId: 'measured',
      model: version!.ref,
    };
    const { result } = await trainer.evaluate(request, PATIENT);
    expect(result).toMatchObject({ model: version!.ref, dataset: held, rows: 32, rowResults: [] });
    const { retrieval } = result!;
    expect(retrieval!.imageToTextRecallAt1).toBe(version!.metrics.image_to_text_recall_at_1);
    expect(retrieval!.zeroShotAccuracy).toBe(version!.metrics.zero_shot_accuracy);
    // Four captions: every image finds its own among five.
    expect(retrieval).toMatchObject({ imageToTextRecallAt5: 1, imageToTextRecallAt10: 1 });
    expect((await trainer.evaluate(request, PATIENT)).result).toEqual(result);

    const both = { first: base, second: version!.ref, evaluation: request.evaluation, seed: 3n };
    const compared = await trainer.compareVersions(both, PATIENT);
    expect(compared.second!.retrieval).toEqual(retrieval);
    const metrics = new Map(compared.comparisons.map((one) => [one.metric, one]));
    expect([...metrics.keys()]).toEqual([
      ...[1, 5, 10].map((k) => `image_to_text_recall_at_${k}`),
      ...[1, 5, 10].map((k) => `text_to_image_recall_at_${k}`),
      'zero_shot_accuracy',
    ]);
    const found = metrics.get('image_to_text_recall_at_1')!;
    expect(found).toMatchObject({
      first: version!.metrics.base_image_to_text_recall_at_1,
      second: version!.metrics.image_to_text_recall_at_1,
    });
    expect(found.difference).toBeCloseTo(found.second - found.first, 12);
    expect(found.low).toBeGreaterThan(0);
    expect(found.high).toBeGreaterThanOrEqual(found.difference);
    expect(found.pValue).toBeLessThan(0.05);
    // What both do perfectly differs by nothing.
    expect(metrics.get('image_to_text_recall_at_5')).toMatchObject({ difference: 0, low: 0, high: 0 });
    const same = { ...both, second: base, resamples: 50 };
    for (const one of (await trainer.compareVersions(same, PATIENT)).comparisons)
      expect(one).toMatchObject({ difference: 0, low: 0, high: 0, pValue: 1 });
  });

  it('says why a version or a data set cannot be measured so', { timeout: 300_000 }, async (t) => {
    if (!mesh) return t.skip();
    const { trainer } = mesh;
    const evaluate = (evaluation: object, model = base) =>
      failure(trainer.evaluate({ model, evaluation }, PATIENT));
    const fields: [object, string][] = [
      [{}, 'evaluation.dataset'],
      [{ dataset: held, judgeModel: base }, 'evaluation.judge_model'],
      [{ dataset: held, safety: true }, 'evaluation.safety'],
      [{ dataset: held, maxTokens: 5 }, 'evaluation.max_tokens'],
      [{ dataset: held, classTemplates: ['a {label}', 'a class'] }, 'evaluation.class_templates[1]'],
    ];
    for (const [evaluation, field] of fields) {
      const error = await evaluate(evaluation);
      expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, fieldViolations: [{ field }] });
    }
    const texts = await evaluate({ dataset: await mesh.dataset('only-texts', smallRows(4)) });
    expect(texts).toMatchObject({ code: status.FAILED_PRECONDITION });
    expect(texts.message).toMatch(/row 1 is no image with its caption/);
    const files = await surfaceFiles({ metal: 3, fabric: 3 }, 8);
    files.set('images/1.png', files.get('images/1.png')!.subarray(0, 90));
    const torn = await evaluate({ dataset: await mesh.datasetOf('torn', files) });
    expect(torn).toMatchObject({ code: status.FAILED_PRECONDITION, reason: 'BAD_ROWS' });
    expect(torn.fieldViolations.map(({ field }) => field)).toEqual(['rows[2]']);
    const first = await mesh.base('answering');
    const unlike = trainer.compareVersions({ first, second: base, evaluation: { dataset: held } }, PATIENT);
    const error = await failure(unlike);
    expect(error).toMatchObject({ code: status.INVALID_ARGUMENT, fieldViolations: [{ field: 'second' }] });
    expect(error.message).toContain(`${base} is a CLIP, and ${first} answers`);
  });

  it('goes on after a kill -9 of its worker to the same bits', { timeout: 600_000 }, async (t) => {
    if (!mesh) return t.skip();
    const config = { ...CONFIG, checkpointSteps: 20 };
    const { job } = await mesh.trainer.createJob({ spec: spec('aligned-again', { config }) }, PATIENT);
    const resumed = await followKilled(mesh, job!.id, { worker: worker!, step: 50 });
    worker = resumed.worker;
    expect(resumed.job).toMatchObject({ state: JobState.SUCCEEDED, attempts: 2 });
    expect(await filesOf(mesh, 'aligned-again')).toEqual(await filesOf(mesh, 'aligned'));
  });

  it('registers adapters merged, in peft’s layout beside the model; a later job leaves them out', {
    timeout: 600_000,
  }, async (t) => {
    if (!mesh) return t.skip();
    const config = { rank: 4, epochs: 2, batchSize: 13, gradientAccumulationSteps: 2, trainProjector: true };
    const adapted = await mesh.trainer.createJob(
      { spec: spec('adapted', { method: Method.LORA, config }) },
      PATIENT,
    );
    expect((await follow(mesh, adapted.job!.id)).failure).toBe('');
    const paths = (await filesOf(mesh, 'adapted')).map(({ path }) => path);
    expect(paths).toContain('adapter/adapter_config.json');
    expect(paths).toContain('adapter/adapter_model.safetensors');
    const fromVersion = 'models:/adapted/1.0.0';
    const next = spec('adapted-further', { method: Method.FROZEN, config: { epochs: 1 }, fromVersion });
    const further = await mesh.trainer.createJob({ spec: next }, PATIENT);
    expect((await follow(mesh, further.job!.id)).failure).toBe('');
    const { version } = await mesh.registry.getVersion({ name: 'adapted-further' });
    expect(
      version!.manifest!.files.map(({ path }) => path).filter((path) => path.startsWith('adapter/')),
    ).toEqual([]);
    expect(version!.lineage).toMatchObject({ parent: fromVersion, method: 'frozen' });
  });

  it('ends after its step in hand when it is cancelled', { timeout: 600_000 }, async (t) => {
    if (!mesh) return t.skip();
    const config = { ...CONFIG, epochs: 1000 };
    const { job } = await mesh.trainer.createJob({ spec: spec('never', { config }) }, PATIENT);
    let asked = false;
    const ended = await follow(mesh, job!.id, async ({ progress }) => {
      if (asked || progress!.step < 2) return;
      asked = true;
      await mesh!.trainer.cancelJob({ id: job!.id });
    });
    expect(ended.state).toBe(JobState.CANCELLED);
  });
});
