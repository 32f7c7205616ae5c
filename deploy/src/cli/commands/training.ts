import { create } from '@bufbuild/protobuf';
import {
  Augmentation,
  ClassSampling,
  JobSchema,
  type JobSpec,
  JobSpecSchema,
  JobState,
  Method,
  TrainingConfigSchema,
} from '@landfall/proto/landfall/trainer/v1/job_pb.js';
import {
  ListJobsResponseSchema,
  RecommendMethodResponseSchema,
} from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import {
  type Command,
  enumOf,
  listOf,
  numberOf,
  type Options,
  reference,
  type Session,
  textOf,
  UsageError,
} from '../command.ts';
import { followJob } from '../follow.ts';
import { duration, member, table } from '../render.ts';

/** Options of a training, shared by `train` and `plan create`. */
export const trainingOptions: Options = {
  base: { type: 'string' },
  data: { type: 'string' },
  validation: { type: 'string' },
  method: { type: 'string' },
  from: { type: 'string' },
  replay: { type: 'string', multiple: true },
  rank: { type: 'string' },
  targets: { type: 'string', multiple: true },
  epochs: { type: 'string' },
  rate: { type: 'string' },
  batch: { type: 'string' },
  'max-length': { type: 'string' },
  seed: { type: 'string' },
  template: { type: 'string', multiple: true },
  projector: { type: 'boolean' },
  'tower-layers': { type: 'string' },
  'freeze-tower': { type: 'boolean' },
  safety: { type: 'boolean' },
  accumulate: { type: 'string' },
  'text-layers': { type: 'string' },
  sampling: { type: 'string' },
  augment: { type: 'string' },
  'keep-sides': { type: 'boolean' },
  'class-template': { type: 'string', multiple: true },
};
export const trainingMeaning: Record<string, string> = {
  base: 'base model (required)',
  data: 'data set to train on (required)',
  validation: 'data set to evaluate on',
  method: 'lora, qlora, frozen, full or ptuning_v2; without it the advised one',
  from: 'tuned version to go on from',
  replay: 'earlier data set of which rows are mixed in; may be repeated',
  rank: "LoRA's rank",
  targets: 'modules with adapters, such as q_proj,v_proj or all-linear',
  epochs: 'times through the data',
  rate: 'highest learning rate',
  batch: 'rows of a step',
  'max-length': 'longest sequence in tokens',
  seed: 'decides order, dropout and first weights',
  template: 'wording with {question}, or chat; may be repeated',
  projector: 'of a model that reads images: its projector trains too; of a CLIP, with lora, its projections',
  'tower-layers': 'of a model that reads images, or a CLIP: highest layers of its image tower that train too',
  'freeze-tower': 'with full: the tower stays as it is but for --tower-layers',
  safety: 'also run the safety set',
  accumulate: 'batches of a step; of a CLIP, all their pairs are compared with one another',
  'text-layers': 'of a CLIP, with frozen: highest layers of its text tower that train too',
  sampling: 'of a CLIP: uniform, or balanced by label; without it as the labels ask for',
  augment: 'of a CLIP: none, repeated or all: which images are changed a little',
  'keep-sides': 'of a CLIP: left and right of an image never change places',
  'class-template': 'of a CLIP: what stands for a class in zero-shot, with {label}; may be repeated',
};

/** The specification that options ask for; what they leave open the trainer fills in. */
export async function specOf(session: Session, outputModel: string): Promise<JobSpec> {
  const { values } = session;
  for (const name of ['base', 'data']) if (!values[name]) throw new UsageError(`--${name} is missing`);
  const refs = (name: string) => Promise.all(listOf(values, name).map((ref) => reference(session, ref)));
  const replay = await refs('replay');
  const validation = await reference(session, textOf(values, 'validation'));
  const config = create(TrainingConfigSchema, {
    rank: numberOf(values, 'rank') ?? 0,
    epochs: numberOf(values, 'epochs') ?? 0,
    learningRate: numberOf(values, 'rate') ?? 0,
    batchSize: numberOf(values, 'batch') ?? 0,
    maxLength: numberOf(values, 'max-length') ?? 0,
    seed: BigInt(numberOf(values, 'seed') ?? 0),
    targetModules: listOf(values, 'targets'),
    instructionTemplates: (values.template ?? []) as string[],
    trainProjector: values.projector === true,
    towerLayers: numberOf(values, 'tower-layers') ?? 0,
    freezeTower: values['freeze-tower'] === true,
    gradientAccumulationSteps: numberOf(values, 'accumulate') ?? 0,
    textLayers: numberOf(values, 'text-layers') ?? 0,
    classSampling: values.sampling
      ? enumOf(ClassSampling, textOf(values, 'sampling'), '--sampling')
      : ClassSampling.UNSPECIFIED,
    augmentation: values.augment
      ? enumOf(Augmentation, textOf(values, 'augment'), '--augment')
      : Augmentation.UNSPECIFIED,
    keepSides: values['keep-sides'] === true,
  });
  return create(JobSpecSchema, {
    outputModel,
    config,
    baseModel: await reference(session, textOf(values, 'base')),
    trainDataset: await reference(session, textOf(values, 'data')),
    method: values.method ? enumOf(Method, textOf(values, 'method'), '--method') : Method.UNSPECIFIED,
    fromVersion: await reference(session, textOf(values, 'from')),
    ...(replay.length > 0 ? { replay: { datasets: replay } } : {}),
    ...(validation || values.safety
      ? {
          evaluation: {
            ...{ dataset: validation, includeBase: validation !== '', safety: values.safety === true },
            classTemplates: (values['class-template'] ?? []) as string[],
          },
        }
      : {}),
  });
}

export const trainingCommands: Record<string, Command> = {
  recommend: {
    usage: 'recommend --base REFERENCE --data REFERENCE',
    summary: 'The method that fits a data set and this hardware, with settings, reason and estimates.',
    arguments: [],
    options: { base: { type: 'string' }, data: { type: 'string' }, rows: { type: 'string' } },
    meaning: { base: 'base model', data: 'data set', rows: 'number of rows, instead of --data' },
    example: 'recommend --base base --data consultations',
    async run(session) {
      const { values } = session;
      const reply = await session.clients.trainer.recommendMethod({
        baseModel: await reference(session, textOf(values, 'base')),
        dataset: await reference(session, textOf(values, 'data')),
        rows: BigInt(numberOf(values, 'rows') ?? 0),
      });
      const mib = (bytes: bigint) => `${Math.round(Number(bytes) / 2 ** 20)} MiB`;
      session.print(RecommendMethodResponseSchema, reply, () =>
        [
          `${member(Method, reply.method)}: ${reply.reason}`,
          `${mib(reply.estimatedMemoryBytes)}, about ${duration(reply.estimatedSeconds)}, ` +
            `${reply.trainableParameters} of ${reply.totalParameters} parameters`,
        ].join('\n'),
      );
    },
  },
  train: {
    usage: 'train NAME --base REFERENCE --data REFERENCE',
    summary: 'Trains a new version of the model NAME.',
    arguments: ['NAME'],
    options: { ...trainingOptions, follow: { type: 'boolean' } },
    meaning: { ...trainingMeaning, follow: 'stay and show how far it is' },
    example: 'train medical --base base --data consultations --validation consultations-validation --follow',
    async run(session) {
      const spec = await specOf(session, session.args[0]!);
      const { job } = await session.clients.trainer.createJob({ spec });
      if (session.values.follow) await followJob(session, job!.id);
      else session.print(JobSchema, job!, () => job!.id);
    },
  },
  'jobs list': {
    usage: 'jobs list',
    summary: 'Training jobs, newest first.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'jobs list',
    async run(session) {
      const reply = await session.clients.trainer.listJobs({ pageSize: 50 });
      session.print(ListJobsResponseSchema, reply, () =>
        table(
          ['JOB', 'STATE', 'DONE', 'METHOD', 'RESULT'],
          reply.jobs.map(({ id, state, progress, spec, outputVersion, failure }) => [
            id,
            member(JobState, state),
            `${Math.floor(progress?.percent ?? 0)} %`,
            member(Method, spec!.method),
            outputVersion || failure || spec!.outputModel,
          ]),
        ),
      );
    },
  },
  'jobs show': {
    usage: 'jobs show ID',
    summary: 'A job with its settings, scores and warnings.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'jobs show 0198a1b2-...',
    async run(session) {
      const { job } = await session.clients.trainer.getJob({ id: session.args[0]! });
      session.print(JobSchema, job!, () =>
        [
          `${job!.id}  ${member(JobState, job!.state)}  ${member(Method, job!.spec!.method)}`,
          `${job!.spec!.baseModel} + ${job!.spec!.trainDataset} -> ${job!.outputVersion || job!.spec!.outputModel}`,
          job!.failure,
          ...job!.warnings,
        ]
          .filter((line) => line !== '')
          .join('\n'),
      );
    },
  },
  'jobs follow': {
    usage: 'jobs follow ID',
    summary: 'Shows how far a job is until it ends.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'jobs follow 0198a1b2-...',
    run: async (session) => void (await followJob(session, session.args[0]!)),
  },
  'jobs cancel': {
    usage: 'jobs cancel ID',
    summary: 'Ends a job after its step in hand.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'jobs cancel 0198a1b2-...',
    async run(session) {
      const { job } = await session.clients.trainer.cancelJob({ id: session.args[0]! });
      session.print(JobSchema, job!, () => member(JobState, job!.state));
    },
  },
};
