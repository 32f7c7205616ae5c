import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type Evaluation,
  type EvaluationMetricSchema,
  EvaluationSchema,
} from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { CompareEvaluationsResponseSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import type { ScoreFunctionSchema } from '@landfall/proto/landfall/prompt/v1/score_function_pb.js';
import { type Command, listOf, numberOf, type Session, textOf, UsageError } from '../command.ts';
import { figure, followEvaluation } from '../follow-prompt-job.ts';
import { table } from '../render.ts';
import { promptOf } from './prompts.ts';

export const measuring = {
  tests: { type: 'string' },
  deployment: { type: 'string', multiple: true },
  concurrency: { type: 'string' },
} as const;
export const measuringMeaning = {
  tests:
    'test set (name, name/1.0.0) or data set (models:/name/1.0.0); without it the tests that the version carries',
  deployment: 'who answers; may be repeated',
  concurrency: 'answers in flight at once',
};

/** `name` and `name/1.0.0` of a test set as references; others as they are. */
export const testsOf = (text: string): string =>
  text === '' || text.includes(':/') ? text : `tests:/${text}`;

type Metric = MessageInitShape<typeof EvaluationMetricSchema>;
const code = (kind: MessageInitShape<typeof ScoreFunctionSchema>['kind']): Metric => ({
  kind: { case: 'code', value: { kind } },
});
const METRICS: Readonly<Record<string, Metric>> = {
  exact_match: code({ case: 'exactMatch', value: {} }),
  bleu: code({ case: 'bleu', value: {} }),
  chrf: code({ case: 'chrf', value: {} }),
  rouge_l: code({ case: 'rougeL', value: {} }),
  contains: code({ case: 'contains', value: {} }),
  checks: { kind: { case: 'checks', value: {} } },
  contract: { kind: { case: 'contract', value: {} } },
};
const METRIC_NAMES = `${Object.keys(METRICS).join(', ')} or judge=DEPLOYMENT`;

/** Metrics by name; `judge=DEPLOYMENT` is a judge. @throws UsageError */
function metricsOf({ values }: Session): Metric[] {
  return listOf(values, 'metric').map((name) => {
    const [, deployment] = /^judge=(.+)$/.exec(name) ?? [];
    if (deployment) return { kind: { case: 'judge', value: { deployment } } };
    const metric = Object.hasOwn(METRICS, name) ? METRICS[name] : undefined;
    if (!metric) throw new UsageError(`--metric is one of ${METRIC_NAMES} and not '${name}'`);
    return metric;
  });
}

async function start(session: Session, name: string, version: string): Promise<string> {
  const { values } = session;
  const { evaluation } = await session.clients.prompt.evaluatePrompt({
    ...{ name, version, dataset: testsOf(textOf(values, 'tests')), startOnly: true },
    deployments: listOf(values, 'deployment'),
    metrics: metricsOf(session),
    concurrency: numberOf(values, 'concurrency') ?? 0,
  });
  return evaluation!.id;
}

function results({ id, results: found, testSet }: Evaluation): string {
  const names = [...new Set(found.flatMap(({ metrics }) => Object.keys(metrics)))];
  return [
    table(
      ['DEPLOYMENT', 'ROWS', 'FAILED', ...names.map((name) => name.toUpperCase()), 'P50 MS', 'TOKENS OUT'],
      found.map(({ deployment, rows, failedRows, metrics, p50Ms, outputTokens }) => [
        ...[deployment, `${rows}`, `${failedRows}`],
        ...names.map((name) => (name in metrics ? figure(metrics[name]!) : '')),
        ...[p50Ms.toFixed(0), `${outputTokens}`],
      ]),
    ),
    `on ${testSet}; evaluation ${id}`,
  ].join('\n');
}

export const promptEvaluationCommands: Record<string, Command> = {
  'prompts evaluate': {
    usage: 'prompts evaluate NAME --tests SET --deployment NAME',
    summary: 'Measures a version of a prompt on a test set; goes on when you leave.',
    arguments: ['NAME'],
    options: { ...measuring, metric: { type: 'string', multiple: true }, follow: { type: 'boolean' } },
    meaning: {
      ...measuringMeaning,
      metric: `${METRIC_NAMES}; may be repeated`,
      follow: 'stay, show its progress and its results',
    },
    example: 'prompts evaluate triage@production --tests triage-checks --deployment chat --follow',
    async run(session) {
      const { name, version } = promptOf(session.args[0]!);
      const id = await start(session, name, version);
      if (!session.values.follow) return session.line(session.json ? JSON.stringify({ id }) : id);
      const evaluation = await followEvaluation(session, id);
      session.print(EvaluationSchema, evaluation, () => results(evaluation));
    },
  },
  'prompts compare': {
    usage: 'prompts compare NAME VERSION VERSION --tests SET --deployment NAME',
    summary:
      'Measures versions on the same rows and puts them side by side, with intervals and the rows that differ.',
    arguments: ['NAME', 'VERSION', 'VERSION'],
    rest: true,
    options: { ...measuring, metric: { type: 'string', multiple: true }, rows: { type: 'string' } },
    meaning: {
      ...measuringMeaning,
      metric: `${METRIC_NAMES}; may be repeated`,
      rows: 'rows that are shown side by side (5)',
    },
    example: 'prompts compare triage @production 1.2.0 --tests triage-checks --deployment chat',
    async run(session) {
      const [name, ...versions] = session.args as [string, ...string[]];
      if (listOf(session.values, 'deployment').length > 1) {
        throw new UsageError('versions are compared on one --deployment');
      }
      const evaluations: Evaluation[] = [];
      for (const version of versions) {
        evaluations.push(await followEvaluation(session, await start(session, name, version)));
      }
      const reply = await session.clients.evaluation.compareEvaluations({
        evaluations: evaluations.map(({ id }) => ({ id })),
        maxRows: numberOf(session.values, 'rows') ?? 5,
      });
      session.print(CompareEvaluationsResponseSchema, reply, () => {
        const first = evaluations[0]!.version;
        const differences = table(
          ['METRIC', `${first}`, 'VERSION', 'VALUE', 'DIFFERENCE', '95 % INTERVAL', 'ROWS'],
          reply.comparisons.flatMap((one) =>
            one.differences.map((found) => [
              ...[found.metric, figure(found.first), one.version, figure(found.second)],
              ...[figure(found.difference), `${figure(found.low)} to ${figure(found.high)}`, `${found.rows}`],
            ]),
          ),
        );
        const shown = table(
          ['ROW', 'EXPECTED', ...evaluations.map(({ version }) => version)],
          reply.rows.map(({ row, test, answers }) => [
            ...[`${row}`, short(test!.expected[0] ?? '')],
            ...answers.map(({ output, error }) => short(error || output)),
          ]),
        );
        return `${differences}\n\n${shown}`;
      });
    },
  },
};

const short = (text: string) => {
  const line = text.replace(/\s+/g, ' ');
  return line.length > 40 ? `${line.slice(0, 39)}…` : line;
};
