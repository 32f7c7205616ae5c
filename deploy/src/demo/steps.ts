import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Deployment } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { PromptTask, VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { type Job, JobState, Method, Stage, TaskType } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import { repositoryRoot } from '../config.ts';
import type { MeshClients } from './clients.ts';
import { duration, type Screen } from './screen.ts';

export const BASE_MODEL = 'landfall-chat-mini';
export const TUNED_MODEL = 'medical-qa';
export const REPLICAS = 2;

/** The demo's prompts: one with variables, one that asks for steps first. */
const CONSULTATION = '你是一名{department}医生。请回答患者的问题:{question}';
const STEP_BY_STEP = '{question}\n请先一步一步思考,再给出答案。';

const dataFolder = join(repositoryRoot, 'deploy/demo/data');

/** Imports the base model, which lies under the registry's import root. */
export async function importBase({ registry }: MeshClients, screen: Screen): Promise<string> {
  const { version } = await registry.importModel({
    requestId: randomUUID(),
    name: BASE_MODEL,
    folder: 'base-model',
    description: 'A small LLaMA that chats in Chinese, trained from nothing by this repository',
  });
  const mebibytes = Number(version!.sizeBytes) / 2 ** 20;
  screen.line(`  ${version!.ref}  ${mebibytes.toFixed(1)} MiB  ${version!.digest}`);
  return version!.ref;
}

/** Deploys a model and waits until all its replicas answer. */
export async function deploy(
  { balancer }: MeshClients,
  name: string,
  model: string,
  screen: Screen,
): Promise<Deployment> {
  const { deployment } = await balancer.deploy(
    { requestId: randomUUID(), name, model, replicas: REPLICAS, waitReady: true },
    { timeoutMs: 90_000 },
  );
  for (const endpoint of deployment!.endpoints) {
    screen.line(
      `  ${deployment!.name}: ${deployment!.model} at ${endpoint.address} (process ${endpoint.pid})`,
    );
  }
  return deployment!;
}

/** Uploads one data file as a data set version: a draft, a stream of chunks, a commit. */
export async function uploadDataset(
  { registry }: MeshClients,
  name: string,
  file: string,
  screen: Screen,
): Promise<string> {
  const content = await readFile(join(dataFolder, file));
  const rows = (JSON.parse(content.toString('utf8')) as unknown[]).length;
  await registry.createModel({
    requestId: randomUUID(),
    name,
    kind: Kind.DATASET,
    description: `${rows} rows`,
  });
  const { version } = await registry.createVersion({ requestId: randomUUID(), name });
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  async function* parts() {
    const header = { name, version: version!.version, path: file, digest, sizeBytes: BigInt(content.length) };
    yield { part: { case: 'header' as const, value: header } };
    for (let offset = 0; offset < content.length; offset += 65_536) {
      yield { part: { case: 'chunk' as const, value: content.subarray(offset, offset + 65_536) } };
    }
  }
  await registry.uploadArtifact(parts());
  const committed = await registry.commitVersion({
    requestId: randomUUID(),
    name,
    version: version!.version,
  });
  screen.line(`  ${file}: ${rows} rows as ${committed.version!.ref}`);
  return committed.version!.ref;
}

/** Asks which method fits and starts the advised job. */
export async function startJob(
  { trainer }: MeshClients,
  base: string,
  trainDataset: string,
  validationDataset: string,
  screen: Screen,
): Promise<Job> {
  const advice = await trainer.recommendMethod({
    baseModel: base,
    dataset: trainDataset,
    taskType: TaskType.GENERATION,
  });
  const share = (100 * Number(advice.trainableParameters)) / Number(advice.totalParameters);
  screen.line(`  advised: ${Method[advice.method]}, because ${advice.reason}`);
  screen.line(
    `  ${advice.trainableParameters} of ${advice.totalParameters} parameters train (${share.toFixed(1)} %), ` +
      `about ${duration(advice.estimatedSeconds)} and ${(Number(advice.estimatedMemoryBytes) / 2 ** 20).toFixed(0)} MiB`,
  );
  const { job } = await trainer.createJob({
    requestId: randomUUID(),
    spec: {
      baseModel: base,
      trainDataset,
      method: advice.method,
      // The rows are asked plainly and in the wordings of the prompts that will be made of the result.
      config: {
        ...advice.config!,
        instructionTemplates: ['chat', CONSULTATION.replace('{department}', '全科'), STEP_BY_STEP],
      },
      evaluation: { dataset: validationDataset, includeBase: true },
      outputModel: TUNED_MODEL,
    },
  });
  return job!;
}

/** Follows a job to its end, drawing its loss as it falls. */
export async function followJob({ trainer }: MeshClients, id: string, screen: Screen): Promise<Job> {
  let losses: number[] = [];
  let stage = Stage.UNSPECIFIED;
  let last: Job | undefined;
  while (last === undefined || last.state === JobState.QUEUED || last.state === JobState.RUNNING) {
    losses = [];
    try {
      for await (const { job } of trainer.watchJob({ id })) {
        last = job!;
        losses.push(...last.loss.map((point) => point.value));
        const progress = last.progress;
        if (!progress) continue;
        if (progress.stage !== stage && progress.stage !== Stage.UNSPECIFIED) {
          stage = progress.stage;
          screen.line(`  ${Stage[stage].toLowerCase()}`);
        }
        if (stage === Stage.TRAIN && progress.totalSteps > 0) {
          screen.bar(
            progress.step / progress.totalSteps,
            `step ${progress.step}/${progress.totalSteps}  loss ${progress.loss.toFixed(3)}  ` +
              `${progress.tokensPerSecond.toFixed(0)} tokens/s  ${duration(progress.remainingSeconds)} left`,
          );
        } else if (stage === Stage.EVALUATE && progress.totalRows > 0) {
          screen.bar(
            progress.evaluatedRows / progress.totalRows,
            `answer ${progress.evaluatedRows}/${progress.totalRows}`,
          );
        }
      }
    } catch (error) {
      // The control service may be replaced while the job runs; its state is in its database.
      const { job } = await trainer.getJob({ id });
      last = job!;
      screen.line(`  the stream broke (${(error as Error).message}) and is taken up again`);
    }
  }
  if (last.state !== JobState.SUCCEEDED)
    throw new Error(`the job ended ${JobState[last.state]}: ${last.failure}`);
  screen.line(`  loss ${sparkline(losses, 60)} ${losses[0]?.toFixed(3)} → ${losses.at(-1)?.toFixed(3)}`);
  return (await trainer.getJob({ id, includeRows: true })).job!;
}

/** A series as a line of blocks, each the mean of its share of the points. */
export function sparkline(values: readonly number[], width: number): string {
  if (values.length === 0) return '';
  const blocks = '▁▂▃▄▅▆▇█';
  const count = Math.min(width, values.length);
  const means = Array.from({ length: count }, (_, i) => {
    const part = values.slice(
      Math.floor((i * values.length) / count),
      Math.floor(((i + 1) * values.length) / count),
    );
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
  const low = Math.min(...means);
  const range = Math.max(...means) - low || 1;
  return means.map((mean) => blocks[Math.round(((mean - low) / range) * 7)]).join('');
}

/** The two prompts of the demo: one with variables, one that asks for steps first. */
export async function createPrompts({ prompt }: MeshClients, screen: Screen): Promise<string[]> {
  const question = { name: 'question', type: VariableType.STRING, required: true, maxLength: 500 };
  const withVariables = await prompt.createPrompt({
    requestId: randomUUID(),
    name: 'medical-consultation',
    description: '以科室医生的身份回答患者的问题',
    task: PromptTask.GENERATION,
    draft: {
      messages: [{ role: 'user', template: CONSULTATION }],
      variables: [
        question,
        { name: 'department', type: VariableType.STRING, description: '科室', maxLength: 20 },
      ].map((variable) =>
        variable.name === 'department' ? { ...variable, defaultValue: text('全科') } : variable,
      ),
      changeLog: 'first version',
    },
  });
  const stepByStep = await prompt.createPrompt({
    requestId: randomUUID(),
    name: 'medical-step-by-step',
    description: '先思考,再回答',
    task: PromptTask.CHAIN_OF_THOUGHT,
    draft: {
      messages: [{ role: 'user', template: STEP_BY_STEP }],
      variables: [question],
      changeLog: 'first version',
    },
  });
  const made = [withVariables, stepByStep].map(({ prompt: p, version }) => {
    screen.line(`  ${p!.name} ${version!.version}`);
    return p!.name;
  });
  return made;
}

function text(value: string) {
  return { kind: { case: 'stringValue' as const, value } };
}

/** Invokes a prompt and shows its answer while it streams. */
export async function invoke(
  { prompt }: MeshClients,
  name: string,
  deployment: string,
  variables: Record<string, string>,
): Promise<{ text: string; firstTextMs: number; tokens: number }> {
  const startMs = performance.now();
  let firstTextMs = 0;
  let answer = '';
  let tokens = 0;
  const stream = prompt.invoke({
    requestId: randomUUID(),
    name,
    deployment,
    variables,
    sampling: { maxTokens: 128 },
  });
  for await (const message of stream) {
    if (message.delta && !firstTextMs) firstTextMs = performance.now() - startMs;
    answer += message.delta;
    tokens = message.invocation?.usage?.outputTokens ?? tokens;
  }
  return { text: answer, firstTextMs, tokens };
}
