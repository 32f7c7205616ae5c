import { create } from '@bufbuild/protobuf';
import { notFound } from '@landfall/common/errors/errors.ts';
import { type Model, ModelSchema } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  type Job,
  JobSchema,
  JobState,
  SeriesPointSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GatewayMesh } from './harness.ts';

let mesh: GatewayMesh | undefined;
let client: OpenAI;
const models = new Map<string, Model>();
const uploaded = new Map<string, string>();
const committed = new Set<string>();
const jobs: Job[] = [];

beforeAll(async () => {
  const modelOf = (name: string) => {
    const model = models.get(name);
    if (!model) throw notFound('there is no such model');
    return { model: { ...model, latestVersion: committed.has(name) ? '1.0.0' : '' } };
  };
  mesh = await GatewayMesh.start({
    generate: async function* () {},
    registry: {
      createModel: ({ name, kind, labels }) => {
        models.set(name, create(ModelSchema, { name, kind, labels }));
        return modelOf(name);
      },
      createVersion: ({ name, version }) => ({ version: { name, version } }),
      async uploadArtifact(parts) {
        let name = '';
        let text = '';
        for await (const { part } of parts) {
          if (part.case === 'header') name = part.value.name;
          if (part.case === 'chunk') text += Buffer.from(part.value).toString('latin1');
        }
        uploaded.set(name, Buffer.from(text, 'latin1').toString());
        return {};
      },
      commitVersion: ({ name }) => {
        committed.add(name);
        return {};
      },
      getModel: ({ name }) => modelOf(name),
      listModels: ({ namePrefix }) => ({
        models: [...models.keys()]
          .filter((name) => name.startsWith(namePrefix))
          .map((name) => modelOf(name).model),
      }),
    },
    trainer: {
      createJob: ({ spec }) => {
        const job = create(JobSchema, { id: crypto.randomUUID(), state: JobState.QUEUED, spec: spec! });
        jobs.unshift(job);
        return { job };
      },
      getJob: ({ id }) => {
        const job = jobs.find((each) => each.id === id);
        if (!job) throw notFound('there is no such job');
        return { job };
      },
      listJobs: () => ({ jobs }),
      cancelJob: ({ id }) => {
        const job = jobs.find((each) => each.id === id)!;
        job.state = JobState.CANCELLED;
        return { job };
      },
    },
    vision: {
      embed: ({ texts, model }) => ({
        embeddings: texts.map((text) => ({ values: [text.length, 0.5, -1] })),
        model: model.replace('@live', '/1.0.0'),
      }),
    },
  });
  if (mesh) client = new OpenAI({ baseURL: `${mesh.url}/v1`, apiKey: mesh.apiKey, maxRetries: 0 });
});
afterAll(() => mesh?.[Symbol.asyncDispose]());

const rows = '{"messages":[{"role":"user","content":"高血压?"},{"role":"assistant","content":"少盐。"}]}\n';
const upload = async () =>
  client.files.create({ file: await toFile(Buffer.from(rows), '问答.jsonl'), purpose: 'fine-tune' });

test('files become data sets, and are listed and read', async (t) => {
  if (!mesh) return t.skip();
  const file = await upload();
  expect(file).toMatchObject({
    object: 'file',
    filename: '问答.jsonl',
    purpose: 'fine-tune',
    status: 'processed',
  });
  expect([uploaded.get(file.id), file.bytes]).toEqual([rows, Buffer.byteLength(rows)]);
  expect(await client.files.retrieve(file.id)).toMatchObject({ id: file.id, filename: '问答.jsonl' });
  expect((await client.files.list()).data.map(({ id }) => id)).toContain(file.id);
  await expect(client.files.retrieve('file-000000000000000000000000')).rejects.toMatchObject({ status: 404 });
});

test('fine-tuning jobs are jobs of the trainer', async (t) => {
  if (!mesh) return t.skip();
  const { id: training_file } = await upload();
  const job = await client.fineTuning.jobs.create({
    model: 'models:/base/1.0.0',
    training_file,
    validation_file: training_file,
    suffix: 'medical-qa',
    hyperparameters: { n_epochs: 2, batch_size: 'auto' },
  });
  expect(job).toMatchObject({
    ...{ status: 'queued', training_file, fine_tuned_model: null, validation_file: training_file },
  });
  expect(jobs[0]!.spec).toMatchObject({
    ...{ baseModel: 'models:/base/1.0.0', trainDataset: `models:/${training_file}/1.0.0` },
    ...{ outputModel: 'medical-qa', config: { epochs: 2 } },
    evaluation: { dataset: `models:/${training_file}/1.0.0` },
  });
  Object.assign(jobs[0]!, { state: JobState.SUCCEEDED, outputVersion: 'models:/medical-qa/1.0.0' });
  jobs[0]!.loss = [create(SeriesPointSchema, { step: 5, epoch: 1, value: 0.25 })];
  const done = await client.fineTuning.jobs.retrieve(job.id);
  expect(done).toMatchObject({ status: 'succeeded', fine_tuned_model: 'models:/medical-qa/1.0.0' });
  const events = await client.fineTuning.jobs.listEvents(job.id);
  expect(events.data).toMatchObject([{ type: 'metrics', message: 'Step 5: training loss=0.2500' }]);
  for (let i = 0; i < 4; i++)
    await client.fineTuning.jobs.create({ model: 'models:/base@live', training_file });
  const listed: string[] = [];
  for await (const each of client.fineTuning.jobs.list({ limit: 2 })) listed.push(each.id);
  expect(listed).toEqual(jobs.map(({ id }) => id));
  expect(await client.fineTuning.jobs.cancel(listed[0]!)).toMatchObject({ status: 'cancelled' });
});

test('embeddings, as numbers and packed', async (t) => {
  if (!mesh) return t.skip();
  const reply = await client.embeddings.create({ model: 'models:/clip@live', input: ['猫', 'two'] });
  expect(reply.data.map(({ index, embedding }) => [index, embedding])).toEqual([
    [0, [1, 0.5, -1]],
    [1, [3, 0.5, -1]],
  ]);
  expect(reply.model).toBe('models:/clip/1.0.0');
  const plain = await client.embeddings.create({
    model: 'models:/clip@live',
    input: '猫',
    encoding_format: 'float',
  });
  expect(plain.data[0]!.embedding).toEqual([1, 0.5, -1]);
});

describe('bad input is refused by its parameter', () => {
  const post = (path: string, body: unknown) =>
    fetch(`${mesh!.url}/v1/${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${mesh!.apiKey}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  const job = { model: 'models:/base/1.0.0', training_file: `file-${'a'.repeat(24)}` };
  const embed = { model: 'models:/clip/1.0.0', input: 'x' };
  test.each<[string, object, string]>([
    ['fine_tuning/jobs', { ...job, model: '../x' }, 'model'],
    ['fine_tuning/jobs', { ...job, model: 'base' }, 'model'],
    ['fine_tuning/jobs', { ...job, training_file: '../../etc/passwd' }, 'training_file'],
    ['fine_tuning/jobs', { ...job, training_file: 7 }, 'training_file'],
    ['fine_tuning/jobs', { ...job, suffix: '../x' }, 'suffix'],
    ['fine_tuning/jobs', { ...job, suffix: 'x'.repeat(65) }, 'suffix'],
    ['fine_tuning/jobs', { ...job, hyperparameters: { n_epochs: 1e9 } }, 'hyperparameters.n_epochs'],
    ['fine_tuning/jobs', { ...job, hyperparameters: { batch_size: -1 } }, 'hyperparameters.batch_size'],
    [
      'fine_tuning/jobs',
      { ...job, hyperparameters: { learning_rate_multiplier: 2 } },
      'learning_rate_multiplier',
    ],
    ['fine_tuning/jobs', { ...job, validation_file: 'file-x' }, 'validation_file'],
    ['embeddings', { ...embed, model: 'clip' }, 'model'],
    ['embeddings', { ...embed, input: [] }, 'input'],
    ['embeddings', { ...embed, input: [''] }, 'input'],
    ['embeddings', { ...embed, input: [1, 2] }, 'input'],
    ['embeddings', { ...embed, input: Array(65).fill('x') }, 'input'],
    ['embeddings', { ...embed, dimensions: 8 }, 'dimensions'],
    ['embeddings', { ...embed, encoding_format: 'hex' }, 'encoding_format'],
    ['files', {}, 'body'],
  ])('%s with %j', async (path, body, param) => {
    if (!mesh) return;
    const response = await post(path, body);
    expect([response.status, await response.json()]).toMatchObject([400, { error: { param } }]);
  });

  test('paths of jobs and files that do not exist, and verbs that are not served', async (t) => {
    if (!mesh) return t.skip();
    const ask = async (verb: string, path: string) => {
      const headers = { authorization: `Bearer ${mesh!.apiKey}` };
      return (await fetch(`${mesh!.url}/v1/${path}`, { method: verb, headers })).status;
    };
    expect(await ask('GET', 'fine_tuning/jobs/..%2fx')).toBe(404);
    expect(await ask('GET', `fine_tuning/jobs/${crypto.randomUUID()}`)).toBe(404);
    expect(await ask('GET', 'fine_tuning/jobs?limit=0')).toBe(400);
    expect(await ask('GET', 'files/..%2fx')).toBe(404);
    expect(await ask('DELETE', 'files')).toBe(405);
    expect(await ask('DELETE', 'files/..%2fx')).toBe(404);
    expect(await ask('GET', 'files/..%2fx/content')).toBe(404);
    expect(await ask('POST', `files/file-${'a'.repeat(24)}/content`)).toBe(405);
    for (const query of ['limit=0', 'limit=10001', 'limit=x', 'after=..', 'after=file-x', 'order=up'])
      expect([query, await ask('GET', `files?${query}`)]).toEqual([query, 400]);
  });
});
