import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { readLauncherConfig, repositoryRoot } from '@landfall/deploy/config.ts';
import { connectMesh, type MeshClients } from '@landfall/deploy/demo/clients.ts';
import { Mesh } from '@landfall/deploy/mesh/mesh.ts';
import { DeploymentState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { JobState, Method, TaskType } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { PlanStage, PlanState, type TuningPlan } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { putDataset } from '../../services/trainer/test/put-dataset.ts';
import { patiently } from './patient.ts';
import { processesOf } from './processes.ts';

const MODEL = 'planned-qa';
/** Untuned, the base reaches less than 10; one tuned well reaches more than 40. */
const GOAL = 30;

let home: string;
let mesh: Mesh;
let gateway: string;
let apiKey: string;
let clients: MeshClients;

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'landfall-plan-'));
  const environment = { ...process.env, LANDFALL_DATABASE_URL: '', LANDFALL_LOG_LEVEL: 'warn' };
  const config = readLauncherConfig({ LANDFALL_HOME: home, LANDFALL_GATEWAY_PORT: '0' });
  mesh = new Mesh({ ...config, environment });
  ({ gateway, apiKey } = await mesh.start());
  clients = connectMesh(gateway, apiKey);
}, 120_000);
afterAll(async () => {
  await mesh.stop();
  // The mesh is found by its processes' environment, which only Linux shows.
  if (existsSync('/proc/self/environ')) expect(processesOf(home)).toEqual([]);
  rmSync(home, { recursive: true, force: true });
}, 60_000);

interface Row {
  question: string;
  answer: string;
}

/** Topics of the demo's data, each five questions to one answer and a sixth to be tested with. */
const TOPICS = 24;

function rowsOf(file: string): Row[] {
  const read = (name: string): Row[] =>
    JSON.parse(readFileSync(join(repositoryRoot, 'deploy/demo/data', name), 'utf8'));
  const answers = [...new Set(read('medical_qa_train.json').map(({ answer }) => answer))].slice(0, TOPICS);
  return read(file).filter(({ answer }) => answers.includes(answer));
}

const dataset = (name: string, rows: readonly Row[]) =>
  putDataset(clients.registry, name, new Map([['rows.json', Buffer.from(JSON.stringify(rows))]]));

/** What a client of the OpenAI API is answered. */
async function chat(deployment: string, question: string): Promise<string> {
  const response = await fetch(`${gateway}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      model: deployment,
      messages: [{ role: 'user', content: question }],
      temperature: 0,
      max_tokens: 96,
    }),
  });
  const body = (await response.json()) as { choices?: { message: { content: string } }[] };
  expect(response.status, JSON.stringify(body)).toBe(200);
  return body.choices![0]!.message.content;
}

/** Follows a plan to its end; its watch breaks with the service that is killed. */
async function follow(id: string, seen: (plan: TuningPlan) => Promise<void>): Promise<TuningPlan> {
  for (;;) {
    let last: TuningPlan | undefined;
    try {
      for await (const { plan } of clients.trainer.watchTuningPlan({ id })) {
        last = plan!;
        await seen(last);
      }
    } catch {
      await delay(200);
    }
    if (last && last.state !== PlanState.RUNNING) return last;
  }
}

test('a plan that starts from poor settings finds better ones, and its result answers through the gateway', async () => {
  const { registry, balancer, trainer } = clients;
  const { version } = await registry.importModel({ name: 'landfall-chat-mini', folder: 'base-model' });
  const base = version!.ref;
  await balancer.deploy({ name: 'base', model: base, replicas: 1, waitReady: true }, { timeoutMs: 90_000 });
  const train = await dataset('medical-qa-train', rowsOf('medical_qa_train.json'));
  const validationRows = rowsOf('medical_qa_val.json');
  const validation = await dataset('medical-qa-val', validationRows);

  const { id } = await trainer.createTuningPlan({
    requestId: 'plan',
    spec: {
      baseModel: base,
      trainDataset: train,
      method: Method.LORA,
      config: { rank: 1, epochs: 1, learningRate: 1e-6, instructionTemplates: ['chat'], seed: 5n },
      evaluation: { dataset: validation, maxTokens: 96 },
      outputModel: MODEL,
    },
    metric: 'bleu',
    threshold: GOAL,
    maxRounds: 8,
    options: { taskType: TaskType.GENERATION, alias: 'production', deployment: MODEL },
  });
  let killed = false;
  let rounds = 0;
  const startMs = Date.now();
  const done = await follow(id, async (plan) => {
    const ended = plan.rounds.filter((round) => round.done);
    for (; rounds < ended.length; rounds++) {
      const { number, action, value, seconds, reason } = ended[rounds]!;
      const at = ((Date.now() - startMs) / 1000).toFixed(0);
      console.info(
        `${at} s: round ${number} (${action}) ${value.toFixed(2)} in ${seconds.toFixed(0)} s; ${reason}`,
      );
    }
    if (killed || plan.stage !== PlanStage.TRAIN) return;
    killed = true;
    process.kill(mesh.processes.trainer!, 'SIGKILL');
  });
  console.info(`${((Date.now() - startMs) / 1000).toFixed(0)} s: ${done.conclusion}`);

  expect(done.state, done.conclusion).toBe(PlanState.SUCCEEDED);
  expect(killed).toBe(true);
  expect(done.rounds.length).toBeGreaterThan(1);
  expect(done.rounds[0]).toMatchObject({ action: 'first', done: true });
  expect(done.rounds[0]!.value).toBeLessThan(GOAL);
  for (const round of done.rounds.slice(1)) expect(round.reason).toMatch(/\d.*:/);
  expect(done.bestValue).toBeGreaterThanOrEqual(GOAL);
  expect(done.tokens).toBeGreaterThan(0n);

  // Every round has one job, killed service or not, and the version says where it comes from.
  const { jobs } = await patiently(() => trainer.listJobs({ state: JobState.SUCCEEDED }));
  expect(jobs.map((job) => job.id).reverse()).toEqual(done.rounds.map(({ jobId }) => jobId));
  const found = (await registry.getVersion({ name: MODEL, version: '@production' })).version!;
  expect(found).toMatchObject({ ref: done.bestVersion, state: VersionState.READY });
  expect(found.lineage).toMatchObject({ base, jobId: done.rounds.at(-1)!.jobId });
  expect(found.metrics.bleu).toBe(done.bestValue);

  const { deployment } = await balancer.getDeployment({ name: MODEL });
  expect(deployment).toMatchObject({ model: done.bestVersion, state: DeploymentState.READY });
  const { question } = validationRows[0]!;
  const tuned = await chat(MODEL, question);
  expect(tuned).not.toBe('');
  expect(tuned).not.toBe(await chat('base', question));
}, 900_000);
