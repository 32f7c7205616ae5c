import { clone, create } from '@bufbuild/protobuf';
import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { CallOptions } from '@landfall/common/rpc/client.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { JobSpecSchema, TaskType } from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  PlanOptionsSchema,
  type TuningPlan,
  TuningPlanSchema,
} from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import type { CreateTuningPlanRequest } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { TrainerContext } from '../context.ts';
import { noDeployment, wrongKind } from '../errors.ts';
import { chooseFirst, withStandIn } from './first-round.ts';

const DEFAULT_ROUNDS = 5;
/** Of a deployment's name, as the balancer takes it. */
const MAX_NAME = 64;

/**
 * A plan from its request, references resolved; refuses everything that could only fail later.
 *
 * @throws LandfallError INVALID_ARGUMENT naming the field, NOT_FOUND or FAILED_PRECONDITION as CreateJob does
 */
export async function newPlan(
  service: TrainerContext,
  request: CreateTuningPlanRequest,
  call: CallOptions,
): Promise<TuningPlan> {
  const { metric, threshold, maxRounds, maxSeconds, maxTokens } = request;
  const asked = request.spec!;
  // A copy: what a repeat is recognised by stays as it came.
  const options = clone(PlanOptionsSchema, request.options ?? create(PlanOptionsSchema));
  const { preparation, deployment, paraphraseModel } = options;
  const dataset = asked.evaluation?.dataset ?? '';
  if (metric === 'judge' && (asked.evaluation?.judgeModel ?? '') === '')
    throw invalidArgument('metric', 'judge is measured only with spec.evaluation.judge_model');
  if (deployment.length > MAX_NAME)
    throw invalidArgument(
      'options.deployment',
      `has ${deployment.length} characters; at most ${MAX_NAME} are taken`,
    );
  if (dataset !== '' && preparation && preparation.validationShare > 0) {
    throw invalidArgument(
      'options.preparation.validation_share',
      'splits off a validation set, and spec.evaluation.dataset gives one already; leave one of them out',
    );
  }
  const unprepared = preparation !== undefined || dataset === '';
  const taskType = options.taskType || TaskType.GENERATION;
  const { resolved } = await chooseFirst(service, withStandIn(asked), taskType, call, { unprepared });
  if (paraphraseModel !== '') options.paraphraseModel = await served(service, paraphraseModel, call);
  // Method and settings stay as asked: what is left open is chosen when the data is prepared.
  const { method, config } = asked;
  const spec = clone(JobSpecSchema, resolved.spec);
  spec.method = method;
  if (config) spec.config = config;
  else delete spec.config;
  if (dataset === '') spec.evaluation!.dataset = '';
  return create(TuningPlanSchema, {
    spec,
    metric,
    threshold,
    maxRounds: maxRounds || DEFAULT_ROUNDS,
    maxSeconds,
    maxTokens,
    options,
  });
}

/** The version of a model that paraphrases. */
async function served(
  { registry, replicas }: TrainerContext,
  ref: string,
  call: CallOptions,
): Promise<string> {
  const version = await registry.version(ref, 'options.paraphrase_model', call);
  if (version.kind === Kind.DATASET) throw wrongKind(version.ref, 'a data set', 'a model');
  const base = version.kind === Kind.BASE ? version.ref : version.lineage!.base;
  if (!(await replicas.serves(base, call))) throw noDeployment(base);
  return version.ref;
}
