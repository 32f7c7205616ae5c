import { type Experiment, ExperimentState } from '@landfall/proto/landfall/prompt/v1/experiment_pb.js';
import {
  GetExperimentResponseSchema,
  ListExperimentsResponseSchema,
  PromoteExperimentResponseSchema,
  ReturnExperimentResponseSchema,
  StartExperimentResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import { type Command, listOf, numberOf, textOf, UsageError } from '../command.ts';
import { member, table } from '../render.ts';
import { time } from './prompt-targets.ts';
import { promptOf } from './prompts.ts';

/** `error_rate`, `latency_ms`, `cost` or the name of a score, with `:margin` where one is meant. */
function metricOf(text: string) {
  const [name = '', margin = '0'] = text.split(':');
  const kinds = { error_rate: 'errorRate', latency_ms: 'latencyMs', cost: 'cost' } as const;
  if (name === '' || !Number.isFinite(Number(margin))) {
    throw new UsageError(
      `a metric is error_rate, latency_ms, cost or a score, with :margin, and not '${text}'`,
    );
  }
  const given = { margin: Number(margin) };
  if (!Object.hasOwn(kinds, name)) return { ...given, kind: { case: 'score' as const, value: name } };
  return { ...given, kind: { case: kinds[name as keyof typeof kinds], value: true as const } };
}

/** `1.1.0` or `1.1.0:3` with its weight. */
function armOf(text: string) {
  const [version = '', weight = '1'] = text.split(':');
  if (!/^\d+$/.test(weight)) throw new UsageError(`a version with its weight is 1.1.0:3 and not '${text}'`);
  return { version, weight: Number(weight) };
}

const number = (value: number) => String(Number(value.toPrecision(4)));

function shown({ id, name, label, state, reason, arms }: Experiment): string {
  const head = ['VERSION', 'WEIGHT', 'METRIC', 'COUNT', 'MEAN', 'FROM', 'TO', 'STOPPED'];
  const rows = arms.flatMap(({ version, weight, stoppedReason, readings }) =>
    readings.map(({ metric, count, mean, low, high }, i) => [
      ...(i === 0 ? [version, `${weight}`] : ['', '']),
      ...[metric, `${count}`, number(mean), number(low), number(high)],
      i === 0 && stoppedReason ? 'yes' : '',
    ]),
  );
  const said = `${id} on ${name}@${label}: ${member(ExperimentState, state)}${reason ? `\n${reason}` : ''}`;
  return `${said}\n${table(head, rows)}`;
}

export const experimentCommands: Record<string, Command> = {
  'experiments start': {
    usage: 'experiments start NAME@LABEL VERSION VERSION',
    summary: "Splits a label's invocations between versions, the label's own first (1.1.0:3 has weight 3).",
    arguments: ['NAME@LABEL', 'VERSION', 'VERSION'],
    rest: true,
    options: {
      goal: { type: 'string' },
      guard: { type: 'string', multiple: true },
      alpha: { type: 'string' },
      hypothesis: { type: 'string' },
    },
    meaning: {
      goal: 'what must get better: a score (quality), error_rate, latency_ms or cost, with :least difference',
      guard: 'what must not get worse by more than :margin, such as error_rate:0.02; several by commas',
      alpha: 'largest probability of saying something that is not so (0.05)',
      hypothesis: 'what is to be learnt',
    },
    example: 'experiments start triage@production 1.0.0 1.1.0 --goal quality --guard error_rate:0.02',
    async run(session) {
      const { args, values } = session;
      const { name, version: label } = promptOf(args[0]!);
      if (!label.startsWith('@')) throw new UsageError(`name a label, such as ${name}@production`);
      const reply = await session.clients.experiments.startExperiment({
        ...{ name, label: label.slice(1), arms: args.slice(1).map(armOf) },
        goal: metricOf(textOf(values, 'goal') || 'quality'),
        guards: listOf(values, 'guard').map(metricOf),
        ...{ alpha: numberOf(values, 'alpha') ?? 0, hypothesis: textOf(values, 'hypothesis') },
      });
      session.print(StartExperimentResponseSchema, reply, () => shown(reply.experiment!));
    },
  },
  'experiments show': {
    usage: 'experiments show ID',
    summary: 'What an experiment knows, with intervals that hold however often one looks.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'experiments show 01998f2e-7d3b-7000-8000-0123456789ab',
    async run(session) {
      const reply = await session.clients.experiments.getExperiment({ id: session.args[0]! });
      session.print(GetExperimentResponseSchema, reply, () => shown(reply.experiment!));
    },
  },
  'experiments list': {
    usage: 'experiments list NAME',
    summary: 'Experiments of a prompt, the newest first.',
    arguments: ['NAME'],
    options: {},
    meaning: {},
    example: 'experiments list triage',
    async run(session) {
      const reply = await session.clients.experiments.listExperiments({ name: session.args[0]! });
      session.print(ListExperimentsResponseSchema, reply, () =>
        table(
          ['EXPERIMENT', 'LABEL', 'VERSIONS', 'STATE', 'WINNER', 'SINCE', 'REASON'],
          reply.experiments.map(({ id, label, arms, state, winner, changeTime, reason }) => [
            ...[id, label, arms.map(({ version }) => version).join(' ')],
            ...[member(ExperimentState, state), winner, time(changeTime), reason],
          ]),
        ),
      );
    },
  },
  'experiments promote': {
    usage: 'experiments promote ID',
    summary: 'Moves the label to the winner, by the rules of the label, and ends the experiment.',
    arguments: ['ID'],
    options: { version: { type: 'string' } },
    meaning: { version: 'another version of the experiment' },
    example: 'experiments promote 01998f2e-7d3b-7000-8000-0123456789ab',
    async run(session) {
      const request = { id: session.args[0]!, version: textOf(session.values, 'version') };
      const reply = await session.clients.experiments.promoteExperiment(request);
      session.print(PromoteExperimentResponseSchema, reply, () => reply.experiment!.reason);
    },
  },
  'experiments return': {
    usage: 'experiments return ID',
    summary: "Ends an experiment: the label's own version has all invocations again.",
    arguments: ['ID'],
    options: { reason: { type: 'string' } },
    meaning: { reason: 'why' },
    example: 'experiments return 01998f2e-7d3b-7000-8000-0123456789ab --reason "holidays"',
    async run(session) {
      const request = { id: session.args[0]!, reason: textOf(session.values, 'reason') };
      const reply = await session.clients.experiments.returnExperiment(request);
      session.print(ReturnExperimentResponseSchema, reply, () => reply.experiment!.reason);
    },
  },
};
