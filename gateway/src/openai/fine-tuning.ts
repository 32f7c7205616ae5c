import { randomBytes } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampMs } from '@bufbuild/protobuf/wkt';
import { notFound } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import { type Job, JobState, TrainingConfigSchema } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  CancelJobRequestSchema,
  CreateJobRequestSchema,
  GetJobRequestSchema,
  ListJobsRequestSchema,
  type ListJobsResponse,
  ListJobsResponseSchema,
  TrainerService,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { FILTERED } from '../access/lists.ts';
import { mayKnow } from '../access/visible.ts';
import type { GatewayContext } from '../context.ts';
import type { Governed } from '../edge/governance.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { isModelName, type Json, optionalRecord, optionalString, record, refuse } from './body.ts';
import { cursorOf } from './cursor.ts';
import { BadRequest } from './errors.ts';
import { datasetOf } from './files.ts';
import { sendJson } from './http.ts';

const { method } = TrainerService;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SUFFIX = /^[a-z0-9]+([._-][a-z0-9]+)*$/;
const STATUS: Readonly<Record<JobState, string>> = {
  [JobState.UNSPECIFIED]: 'queued',
  [JobState.QUEUED]: 'queued',
  [JobState.RUNNING]: 'running',
  [JobState.SUCCEEDED]: 'succeeded',
  [JobState.FAILED]: 'failed',
  [JobState.CANCELLED]: 'cancelled',
};

/** `POST /v1/fine_tuning/jobs`: a job of the trainer, by the method that it advises. */
export async function createFineTuning(
  { channels: { trainer } }: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  value: unknown,
): Promise<void> {
  const body = record(value, 'body');
  const { model } = body;
  if (typeof model !== 'string' || !model.startsWith('models:/') || !isModelName(model))
    throw new BadRequest('model', 'must be models:/name/version or models:/name@alias of a base model');
  for (const param of ['integrations', 'method', 'seed'])
    refuse(body, param, () => false, 'is not served; the trainer chooses');
  const suffix = optionalString(body, 'suffix') ?? `ft-${randomBytes(6).toString('hex')}`;
  if (suffix.length > 64 || !SUFFIX.test(suffix))
    throw new BadRequest('suffix', 'must be lower case letters and digits joined by . _ or -, at most 64');
  const validation = body.validation_file ?? undefined;
  const asked = create(CreateJobRequestSchema, {
    spec: {
      baseModel: model,
      trainDataset: datasetOf(body.training_file, 'training_file'),
      outputModel: suffix,
      ...(validation === undefined
        ? {}
        : { evaluation: { dataset: datasetOf(validation, 'validation_file') } }),
      config: create(TrainingConfigSchema, hyperparameters(optionalRecord(body, 'hyperparameters') ?? {})),
    },
  });
  const reply = await governed.unary(asked, (passed) =>
    trainer.unary(method.createJob, passed as never, { context: call }),
  );
  sendJson(response, 200, jobBody((reply as { job?: Job }).job!));
}

function hyperparameters(body: Json): { epochs?: number; batchSize?: number } {
  const path = 'hyperparameters';
  const whole = (name: string, most: number): number | undefined => {
    const value = body[name];
    if (value === undefined || value === null || value === 'auto') return undefined;
    if (!Number.isInteger(value) || (value as number) < 1 || (value as number) > most)
      throw new BadRequest(`${path}.${name}`, `must be auto or a whole number from 1 to ${most}`);
    return value as number;
  };
  refuse(
    body,
    'learning_rate_multiplier',
    (each) => each === 'auto',
    'is not served; leave it to the trainer',
  );
  const [epochs, batchSize] = [whole('n_epochs', 100), whole('batch_size', 256)];
  return { ...(epochs ? { epochs } : {}), ...(batchSize ? { batchSize } : {}) };
}

/** `GET /v1/fine_tuning/jobs?limit&after`, newest first. */
export async function listFineTuning(
  { channels: { trainer } }: GatewayContext,
  request: EdgeRequest,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
): Promise<void> {
  const { searchParams } = new URL(request.url ?? '', 'http://gateway');
  const { limit, after } = cursorOf(searchParams, { standard: 20, most: 100, id: UUID, of: 'a job' });
  const client = trainer.client(TrainerService);
  const [list] = FILTERED.get(method.listJobs)!;
  let more = false;
  const reply = await governed.unary(create(ListJobsRequestSchema, { pageSize: 500 }), async () => {
    const jobs: Job[] = [];
    let behind = after === '';
    let pageToken = '';
    do {
      const page = await client.listJobs({ pageSize: 500, pageToken }, { context: call });
      for (const job of page.jobs) {
        // What is not shown takes no place of the page.
        if (behind && mayKnow(governed.caller, method.listJobs, list!, job)) jobs.push(job);
        else behind ||= job.id === after;
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== '' && jobs.length <= limit);
    more = jobs.length > limit;
    return create(ListJobsResponseSchema, { jobs: jobs.slice(0, limit) });
  });
  const data = (reply as ListJobsResponse).jobs.map(jobBody);
  sendJson(response, 200, { object: 'list', data, has_more: more });
}

/** `GET /v1/fine_tuning/jobs/{id}` and `.../events`, `POST .../cancel`. */
export async function fineTuningJob(
  { channels: { trainer } }: GatewayContext,
  response: EdgeResponse,
  call: CallContext,
  governed: Governed,
  id: string,
  what: 'job' | 'events' | 'cancel',
): Promise<void> {
  if (!UUID.test(id)) throw notFound('there is no such job');
  const [rpc, schema] =
    what === 'cancel' ? [method.cancelJob, CancelJobRequestSchema] : [method.getJob, GetJobRequestSchema];
  const reply = await governed.unary(create(schema, { id }), (passed) =>
    trainer.unary(rpc, passed as never, { context: call }),
  );
  const { job } = reply as { job?: Job };
  sendJson(response, 200, what === 'events' ? eventsBody(job!) : jobBody(job!));
}

const seconds = (time: Timestamp | undefined) => (time ? Math.floor(timestampMs(time) / 1000) : null);

function jobBody(job: Job) {
  const { spec, state, failure } = job;
  const ended = state === JobState.SUCCEEDED || state === JobState.FAILED || state === JobState.CANCELLED;
  return {
    ...{ id: job.id, object: 'fine_tuning.job', model: spec?.baseModel ?? '', status: STATUS[state] },
    ...{ created_at: seconds(job.createTime) ?? 0, finished_at: ended ? seconds(job.endTime) : null },
    ...{ fine_tuned_model: job.outputVersion || null, training_file: fileOf(spec?.trainDataset ?? '') },
    ...{ validation_file: fileOf(spec?.evaluation?.dataset ?? '') || null },
    ...{ result_files: [], trained_tokens: null, organization_id: '', seed: 0 },
    hyperparameters: {
      n_epochs: spec?.config?.epochs || 'auto',
      batch_size: spec?.config?.batchSize || 'auto',
    },
    error: failure ? { code: 'job_failed', message: failure, param: null } : null,
  };
}

/** The file that a data set is, or the data set as it is named. */
const fileOf = (dataset: string): string => /^models:\/(file-[0-9a-f]{24})\//.exec(dataset)?.[1] ?? dataset;

/** The loss by step, newest first, as OpenAI tells it. */
function eventsBody(job: Job) {
  const data = job.loss.toReversed().map(({ step, value }) => ({
    ...{ id: `${job.id}-${step}`, object: 'fine_tuning.job.event', created_at: seconds(job.startTime) ?? 0 },
    ...{ level: 'info', type: 'metrics', message: `Step ${step}: training loss=${value.toFixed(4)}` },
    data: { step: Number(step), train_loss: value },
  }));
  return { object: 'list', data, has_more: false };
}
