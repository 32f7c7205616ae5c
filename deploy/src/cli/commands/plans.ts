import type { TuningPlan } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import { PlanState, TuningPlanSchema } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import { ListTuningPlansResponseSchema } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { type Command, numberOf, textOf, UsageError } from '../command.ts';
import { followPlan } from '../follow.ts';
import { member, table } from '../render.ts';
import { specOf, trainingMeaning, trainingOptions } from './training.ts';

const conclusion = ({ state, bestVersion, bestValue, metric, conclusion }: TuningPlan) =>
  `${member(PlanState, state)}: ${bestVersion || 'no version'}  ${metric} ${bestValue.toFixed(2)}\n${conclusion}`;

export const planCommands: Record<string, Command> = {
  'plan create': {
    usage: 'plan create NAME --base REFERENCE --data REFERENCE --validation REFERENCE --goal bleu=40',
    summary: 'Trains round after round until a goal is met or the budget is spent.',
    arguments: ['NAME'],
    options: {
      ...trainingOptions,
      goal: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      tokens: { type: 'string' },
      alias: { type: 'string' },
      deploy: { type: 'string' },
      prepare: { type: 'boolean' },
      follow: { type: 'boolean' },
    },
    meaning: {
      ...trainingMeaning,
      goal: 'metric=value to be reached (required)',
      rounds: 'most rounds',
      seconds: 'most time',
      tokens: 'most tokens to train on',
      alias: 'alias that moves to the version that meets the goal',
      deploy: 'deployment that serves it',
      prepare: 'prepare the data set first',
      follow: 'stay and show each round',
    },
    example:
      'plan create medical --base base --data consultations --validation checks --goal bleu=40 --follow',
    async run(session) {
      const { values } = session;
      const [, metric, value] = /^([a-z0-9_]+)=(.+)$/.exec(textOf(values, 'goal')) ?? [];
      if (!metric || !Number.isFinite(Number(value)))
        throw new UsageError('--goal is metric=value, such as bleu=40');
      const { id } = await session.clients.trainer.createTuningPlan({
        spec: await specOf(session, session.args[0]!),
        metric,
        threshold: Number(value),
        maxRounds: numberOf(values, 'rounds') ?? 0,
        maxSeconds: numberOf(values, 'seconds') ?? 0,
        maxTokens: BigInt(numberOf(values, 'tokens') ?? 0),
        options: {
          alias: textOf(values, 'alias'),
          deployment: textOf(values, 'deploy'),
          ...(values.prepare ? { preparation: {} } : {}),
        },
      });
      if (!values.follow) return session.line(session.json ? JSON.stringify({ id }) : id);
      const plan = await followPlan(session, id);
      session.print(TuningPlanSchema, plan, () => conclusion(plan));
      if (plan.state !== PlanState.SUCCEEDED) throw new Error(`the plan ${member(PlanState, plan.state)}`);
    },
  },
  'plan list': {
    usage: 'plan list',
    summary: 'Tuning plans, newest first.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'plan list',
    async run(session) {
      const reply = await session.clients.trainer.listTuningPlans({ pageSize: 50 });
      session.print(ListTuningPlansResponseSchema, reply, () =>
        table(
          ['PLAN', 'STATE', 'GOAL', 'BEST', 'VERSION'],
          reply.plans.map((plan) => [
            plan.id,
            member(PlanState, plan.state),
            `${plan.metric} ${plan.threshold}`,
            plan.bestValue.toFixed(2),
            plan.bestVersion,
          ]),
        ),
      );
    },
  },
  'plan show': {
    usage: 'plan show ID',
    summary: 'A plan with its rounds and their reasons.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'plan show 0198a1b2-...',
    async run(session) {
      const { plan } = await session.clients.trainer.getTuningPlan({ id: session.args[0]! });
      session.print(TuningPlanSchema, plan!, () =>
        [
          conclusion(plan!),
          table(
            ['ROUND', 'ACTION', 'VALUE', 'VERSION', 'REASON'],
            plan!.rounds.map((round) => [
              `${round.number}`,
              round.action,
              round.value.toFixed(2),
              round.version,
              round.reason,
            ]),
          ),
        ].join('\n'),
      );
    },
  },
  'plan follow': {
    usage: 'plan follow ID',
    summary: 'Shows the rounds of a plan until it ends.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'plan follow 0198a1b2-...',
    async run(session) {
      const plan = await followPlan(session, session.args[0]!);
      session.print(TuningPlanSchema, plan, () => conclusion(plan));
    },
  },
  'plan cancel': {
    usage: 'plan cancel ID',
    summary: 'Ends a plan and its running job.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'plan cancel 0198a1b2-...',
    async run(session) {
      const { plan } = await session.clients.trainer.cancelTuningPlan({ id: session.args[0]! });
      session.print(TuningPlanSchema, plan!, () => member(PlanState, plan!.state));
    },
  },
};
