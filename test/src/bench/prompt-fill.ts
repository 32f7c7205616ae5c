import { create, toJsonString } from '@bufbuild/protobuf';
import { type Random, randomOf } from '@landfall/metrics/random.ts';
import { VariableType } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import { PromptDraftSchema } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { Sink, Value } from './prompt-sink.ts';

export const TENANT = 'bench';
export const VERSIONS_EACH = 20;
export const DEPLOYMENTS = 8;
export const CALLERS = 200;
const DAYS = 30;
const BATCH = 10_000;
/** An invocation fails this often, and with what. */
const ERRORS = [
  ...Array.from({ length: 150 }, () => 'UNAVAILABLE'),
  ...Array.from({ length: 49 }, () => 'DEADLINE_EXCEEDED'),
  'DATA_LOSS',
];
const ERROR_RATE = 0.02;

export interface Filled {
  prompts: number;
  /** Milliseconds since 1970 of the first and the last invocation. */
  fromMs: number;
  toMs: number;
}

export const promptName = (i: number) => `prompt-${i}`;

/** Fills empty tables: prompts with 20 versions each and the label `production`, invocations of 30 days, scores. */
export async function fill(sink: Sink, invocations: number, versions: number, seed: bigint): Promise<Filled> {
  const prompts = Math.ceil(versions / VERSIONS_EACH);
  await fillPrompts(sink, prompts);
  const toMs = Date.now();
  const fromMs = toMs - DAYS * 86_400_000;
  await sink.withoutIndexes(['invocation', 'score'], async () => {
    const random = randomOf(seed, 'invocations');
    for (let first = 0; first < invocations; first += BATCH) {
      const count = Math.min(BATCH, invocations - first);
      const rows: Value[][] = [];
      const scores: Value[][] = [];
      for (let i = first; i < first + count; i++) {
        const ms = Math.floor(fromMs + ((toMs - fromMs) * i) / invocations);
        const row = invocation(random, i, ms, prompts);
        rows.push(row);
        scores.push(...scoresOf(random, row[0] as string, row[2] as string, ms));
      }
      await sink.insert('invocation', INVOCATION, rows);
      await sink.insert('score', SCORE, scores);
    }
  });
  return { prompts, fromMs, toMs };
}

async function fillPrompts(sink: Sink, prompts: number): Promise<void> {
  const columns = {
    prompt: ['tenant', 'name', 'description', 'task', 'latest_version', 'created_ms'],
    prompt_version: ['tenant', 'name', 'version', 'content', 'digest', 'author', 'created_ms'],
    prompt_label: ['tenant', 'name', 'label', 'version', 'revision'],
  };
  const rows: Record<keyof typeof columns, Value[][]> = { prompt: [], prompt_version: [], prompt_label: [] };
  for (let i = 0; i < prompts; i++) {
    const name = promptName(i);
    const newest = `1.${VERSIONS_EACH - 1}.0`;
    rows.prompt.push([TENANT, name, 'a prompt of the bench', 3, newest, 0]);
    for (let v = 0; v < VERSIONS_EACH; v++) {
      rows.prompt_version.push([TENANT, name, `1.${v}.0`, draft(i, v), `sha256:${i}-${v}`, 'bench', 0]);
    }
    rows.prompt_label.push([TENANT, name, 'production', `1.${i % VERSIONS_EACH}.0`, 1]);
  }
  for (const table of ['prompt', 'prompt_version', 'prompt_label'] as const) {
    await sink.insert(table, columns[table], rows[table]);
  }
}

const SENTENCE = '你是一名经验丰富的医生,请用通俗的语言回答患者的问题,并说明何时需要就医。';

/** About 1,500 characters in two turns with three variables. */
const draft = (prompt: number, version: number) =>
  toJsonString(
    PromptDraftSchema,
    create(PromptDraftSchema, {
      messages: [
        { role: 'system', template: `${prompt}.${version} {department}: ${SENTENCE.repeat(30)}` },
        { role: 'user', template: `问题:{question}\n格式:{"answer": "...", "urgent": true}\n语气:{tone}` },
      ],
      variables: [
        {
          name: 'department',
          type: VariableType.STRING,
          defaultValue: { kind: { case: 'stringValue', value: '全科' } },
        },
        { name: 'question', type: VariableType.STRING, required: true },
        { name: 'tone', type: VariableType.ENUM, enumValues: ['温和', '专业'], required: true },
      ],
    }),
  );

const INVOCATION = [
  ...['id', 'tenant', 'name', 'version', 'deployment', 'caller', 'error', 'failed'],
  ...['request_id', 'request_digest', 'entry', 'created_ms'],
];
const SCORE = ['invocation_id', 'name', 'author', 'tenant', 'prompt', 'value', 'reason', 'created_ms'];

function invocation(random: Random, i: number, ms: number, prompts: number): Value[] {
  const id = uuid(ms, random);
  const name = promptName(Math.floor(random() * prompts));
  const version = `1.${Math.floor(random() * VERSIONS_EACH)}.0`;
  const deployment = `deployment-${Math.floor(random() * DEPLOYMENTS)}`;
  const caller = `key:${Math.floor(random() * CALLERS)}`;
  const error = random() < ERROR_RATE ? ERRORS[Math.floor(random() * ERRORS.length)]! : '';
  const entry = JSON.stringify({
    ...{ id, name, version, label: 'production', deployment, model: 'models:/qa/1.0.0' },
    rendered: [{ role: 'user', content: `${SENTENCE}问题 ${i}:高血压患者日常饮食需要注意什么?` }],
    output: error ? '' : `第 ${i} 个回答:少盐,多吃蔬菜,定期测量血压,按时服药。${SENTENCE}`,
    usage: { inputTokens: 120, outputTokens: 60, timeToFirstTokenMs: 80, durationMs: 900 },
    ...{ finishReason: 'FINISH_REASON_STOP', createTime: new Date(ms).toISOString(), caller },
    traceId: id.replaceAll('-', ''),
    ...(error ? { error } : {}),
  });
  // SQLite has no booleans.
  return [id, TENANT, name, version, deployment, caller, error, error ? 1 : 0, null, 'digest', entry, ms];
}

/** A fifth have a `quality` of 1 to 10, mostly good; one in twenty a `toxicity`. */
function scoresOf(random: Random, id: string, prompt: string, ms: number): Value[][] {
  const scores: Value[][] = [];
  if (random() < 0.2) {
    const value = 10 - Math.floor(10 * random() ** 2);
    scores.push([id, 'quality', `key:${Math.floor(random() * CALLERS)}`, TENANT, prompt, value, '', ms]);
  }
  if (random() < 0.05) scores.push([id, 'toxicity', 'policy:toxicity', TENANT, prompt, random(), '', ms]);
  return scores;
}

/** A UUID of version 7. */
function uuid(ms: number, random: Random): string {
  const time = ms.toString(16).padStart(12, '0');
  const digits = (count: number) =>
    Math.floor(random() * 16 ** count)
      .toString(16)
      .padStart(count, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}-7${digits(3)}-8${digits(3)}-${digits(6)}${digits(6)}`;
}
