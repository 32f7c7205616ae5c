import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { readLauncherConfig, repositoryRoot } from '@landfall/deploy/config.ts';
import { connectMesh, type MeshClients } from '@landfall/deploy/demo/clients.ts';
import { ModelReadySubscriber } from '@landfall/deploy/demo/model-events.ts';
import { Mesh } from '@landfall/deploy/mesh/mesh.ts';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type Job, JobState, Method } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { patiently } from './patient.ts';
import { processesOf } from './processes.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
process.stdout.write(`chaos: LANDFALL_TEST_SEED=${seed}\n`);

/** mulberry32 */
function generator(state: number): () => number {
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
const random = generator(seed);

let home: string;
let mesh: Mesh;
let clients: MeshClients;
let apiKey: string;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'landfall-chaos-'));
  const environment = { ...process.env, LANDFALL_DATABASE_URL: '', LANDFALL_LOG_LEVEL: 'warn' };
  mesh = new Mesh({
    ...readLauncherConfig({ LANDFALL_HOME: home, LANDFALL_GATEWAY_PORT: '0' }),
    environment,
  });
  const address = await mesh.start();
  apiKey = address.apiKey;
  clients = connectMesh(address.gateway, apiKey);
}, 120_000);
afterAll(async () => {
  await mesh.stop();
  rmSync(home, { recursive: true, force: true });
}, 60_000);

interface Row {
  question: string;
  answer: string;
}

async function dataset(name: string, file: string, count: number): Promise<string> {
  const rows = (
    JSON.parse(readFileSync(join(repositoryRoot, 'deploy/demo/data', file), 'utf8')) as Row[]
  ).slice(0, count);
  const { registry } = clients;
  const [modelId, versionId, commitId] = [randomUUID(), randomUUID(), randomUUID()];
  await patiently(() => registry.createModel({ requestId: modelId, name, kind: Kind.DATASET }));
  const created = await patiently(() => registry.createVersion({ requestId: versionId, name }));
  const { version } = created.version!;
  const content = Buffer.from(JSON.stringify(rows));
  await patiently(() => registry.putArtifact({ header: { name, version, path: 'rows.json' }, content }));
  const { version: ready } = await patiently(() =>
    registry.commitVersion({ requestId: commitId, name, version }),
  );
  return ready!.ref;
}

/** Follows the job by reading it: its watch may break with any service. */
async function jobEnd(id: string, onProgress: (job: Job) => Promise<void>): Promise<Job> {
  for (;;) {
    const { job } = await patiently(() => clients.trainer.getJob({ id }));
    await onProgress(job!);
    if (job!.state !== JobState.QUEUED && job!.state !== JobState.RUNNING) return job!;
    await delay(250);
  }
}

test('kill -9 of each service in turn during the main job loses nothing, and the job ends well', async () => {
  const { registry, trainer, balancer, prompt, text } = clients;
  const kill = async (service: string) => {
    await delay(random() * 300);
    const pid = mesh.processes[service];
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    process.stdout.write(`chaos: killed ${service} (${pid})\n`);
  };
  const write = <T>(call: () => Promise<T>) => patiently(call);

  const importId = randomUUID();
  const imported = write(() =>
    registry.importModel({ requestId: importId, name: 'base', folder: 'base-model' }),
  );
  await kill('registry');
  const base = (await imported).version!.ref;

  const train = await dataset('train', 'medical_qa_train.json', 48);
  const validation = await dataset('validation', 'medical_qa_val.json', 4);
  const deployId = randomUUID();
  const deploying = write(() =>
    balancer.deploy(
      { requestId: deployId, name: 'base', model: base, replicas: 2, waitReady: true },
      { timeoutMs: 60_000 },
    ),
  );
  await kill('balancer');
  await deploying;

  const jobId = randomUUID();
  const creating = write(() =>
    trainer.createJob({
      requestId: jobId,
      spec: {
        baseModel: base,
        trainDataset: train,
        method: Method.LORA,
        config: { epochs: 6, batchSize: 8, instructionTemplates: ['chat'], checkpointSteps: 4, seed: 7n },
        evaluation: { dataset: validation, includeBase: true, maxTokens: 32 },
        outputModel: 'tuned',
      },
    }),
  );
  await kill('trainer');
  const { job } = await creating;
  // In an order of the seed's, each while the job runs; a replica too.
  const order = [
    'trainer-worker',
    'nats',
    'registry',
    'trainer',
    'gateway',
    'balancer',
    'prompt',
    'replica',
    'trainer-worker',
  ]
    .map((service) => ({ service, at: random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ service }) => service);
  let nextStep = 2;
  const promptId = randomUUID();
  const ended = await jobEnd(job!.id, async (now) => {
    if (order.length === 0 || (now.progress?.step ?? 0) < nextStep) return;
    nextStep = now.progress!.step + 2;
    const service = order.shift()!;
    if (service !== 'replica') return kill(service);
    const { deployment } = await patiently(() => balancer.getDeployment({ name: 'base' }));
    const pid = Number(deployment!.endpoints.find((endpoint) => endpoint.pid > 0n)?.pid ?? 0);
    if (pid) process.kill(pid, 'SIGKILL');
    process.stdout.write(`chaos: killed a replica (${pid})\n`);
  });
  expect(ended.failure).toBe('');
  expect(ended.state).toBe(JobState.SUCCEEDED);
  for (const service of order) if (service !== 'replica') await kill(service);

  await write(() =>
    prompt.createPrompt({
      requestId: promptId,
      name: 'ask',
      draft: { messages: [{ role: 'user', template: '{question}' }] },
    }),
  );
  const adminTransport = createConnectTransport({
    baseUrl: mesh.address.gateway,
    httpVersion: '1.1',
    interceptors: [
      (next) => (request) => {
        request.header.set('authorization', `Bearer ${apiKey}`);
        return next(request);
      },
    ],
  });
  const admin = createClient(AdminService, adminTransport);
  const keyId = randomUUID();
  const { key } = await write(() => admin.createKey({ requestId: keyId, name: 'second', role: Role.VIEWER }));
  const tunedId = randomUUID();
  await write(() =>
    balancer.deploy(
      { requestId: tunedId, name: 'tuned', model: ended.outputVersion, replicas: 2, waitReady: true },
      { timeoutMs: 60_000 },
    ),
  );

  // Everything that was acknowledged is there, after one more death of each that holds it.
  for (const service of ['registry', 'prompt', 'gateway', 'trainer', 'balancer']) await kill(service);
  const refs = [base, train, validation, ended.outputVersion];
  for (const ref of refs) {
    const [name, version] = ref.replace('models:/', '').split('/') as [string, string];
    expect((await patiently(() => registry.getVersion({ name, version }))).version!.ref).toBe(ref);
  }
  expect((await patiently(() => prompt.getPrompt({ name: 'ask' }))).version!.version).toBe('1.0.0');
  expect((await patiently(() => admin.listKeys({}))).keys.map((k) => k.id)).toContain(key!.id);
  expect((await patiently(() => trainer.getJob({ id: job!.id }))).job!.outputVersion).toBe(
    ended.outputVersion,
  );
  const answer = await patiently(async () => {
    let said = '';
    for await (const part of text.generate({ model: 'tuned', prompt: '高血压', sampling: { maxTokens: 8 } }))
      said += part.delta;
    return said;
  });
  expect(answer).not.toBe('');

  // One event for each version, however often its announcement was interrupted.
  const subscriber = await ModelReadySubscriber.open(mesh.address.nats);
  for (const ref of refs) await subscriber.next((event) => event.ref === ref, AbortSignal.timeout(30_000));
  await delay(1000);
  const seen = subscriber.events.map((event) => event.ref).sort();
  await subscriber.close();
  expect(seen).toEqual([...refs].sort());

  await mesh.stop();
  expect(processesOf(home)).toEqual([]);
}, 400_000);
