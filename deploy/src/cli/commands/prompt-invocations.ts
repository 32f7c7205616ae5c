import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { Invocation } from '@landfall/proto/landfall/prompt/v1/prompt_pb.js';
import {
  ListInvocationsResponseSchema,
  ScoreInvocationResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { type Command, listOf, numberOf, textOf, UsageError, type Values } from '../command.ts';
import { table } from '../render.ts';
import { time } from './prompt-targets.ts';
import { promptOf, set, setMeaning, variablesOf } from './prompts.ts';

const DEFAULT_ROWS = 20;
const PREVIEW = 40;

/** `quality=1..3`, `quality=8..` or `toxicity` as a filter. */
function scoreOf(text: string) {
  if (text === '') return {};
  const [, name, minimum, maximum] = /^([a-z][a-z0-9_.-]*)(?:=(-?[\d.]*?)\.\.(-?[\d.]*))?$/.exec(text) ?? [];
  if (!name) throw new UsageError(`--score is name, name=8.. or name=1..3, and not '${text}'`);
  return {
    score: {
      name,
      ...(minimum ? { minimum: Number(minimum) } : {}),
      ...(maximum ? { maximum: Number(maximum) } : {}),
    },
  };
}

function sinceOf(values: Values) {
  const text = textOf(values, 'since');
  if (text === '') return {};
  const ms = Date.parse(text);
  if (Number.isNaN(ms)) throw new UsageError(`--since is a time such as 2026-01-31T08:00 and not '${text}'`);
  return { startTime: timestampFromMs(ms) };
}

const preview = (text: string) => {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > PREVIEW ? `${line.slice(0, PREVIEW)}…` : line;
};

const row = (one: Invocation) => [
  one.id,
  time(one.createTime),
  `${one.name}/${one.version}`,
  one.deployment,
  one.error || `${Math.round(one.durationMs)} ms`,
  one.cost ? `${Number(one.cost.amount.toPrecision(3))} ${one.cost.currency}` : '',
  one.scores.map(({ name, value }) => `${name}=${Number(value.toPrecision(3))}`).join(' '),
  preview(one.output),
];

export const promptInvocationCommands: Record<string, Command> = {
  'prompts invoke': {
    usage: 'prompts invoke NAME',
    summary: 'Renders a prompt and lets a deployment answer it.',
    arguments: ['NAME'],
    options: {
      ...set,
      deployment: { type: 'string' },
      fallback: { type: 'string', multiple: true },
      samples: { type: 'string' },
      subject: { type: 'string' },
    },
    meaning: {
      ...setMeaning,
      deployment: 'who answers',
      fallback: 'who answers where the one before can not; several in order, by commas',
      samples: 'take so many answers and return the most frequent',
      subject: 'whom the answer is for: an experiment keeps them with one version',
    },
    example: 'prompts invoke triage@production --deployment chat --fallback spare --set symptom=头痛',
    async run(session) {
      const { values, json } = session;
      const request = {
        ...promptOf(session.args[0]!),
        variables: variablesOf(session),
        deployment: textOf(values, 'deployment'),
        fallbackDeployments: listOf(values, 'fallback'),
        samples: numberOf(values, 'samples') ?? 0,
        subject: textOf(values, 'subject'),
      };
      let text = '';
      let last: Invocation | undefined;
      for await (const reply of session.clients.prompt.invoke(request, { signal: session.signal })) {
        if (reply.reset) {
          text = '';
          if (!json) process.stdout.write('\n');
        }
        if (!json) process.stdout.write(reply.delta);
        text += reply.delta;
        last = reply.invocation ?? last;
      }
      const { id = '', version = '', deployment = '' } = last ?? {};
      session.line(json ? JSON.stringify({ invocation: id, version, deployment, text }) : '');
    },
  },
  'prompts log': {
    usage: 'prompts log',
    summary: 'Logged invocations, the newest first.',
    arguments: [],
    options: {
      prompt: { type: 'string' },
      deployment: { type: 'string' },
      caller: { type: 'string' },
      error: { type: 'string' },
      score: { type: 'string' },
      since: { type: 'string' },
      limit: { type: 'string' },
    },
    meaning: {
      prompt: 'of this prompt (name), or one of its versions (name/1.0.0)',
      deployment: 'that this deployment answered',
      caller: 'of this caller, such as key:UUID',
      error: 'with this error, such as UNAVAILABLE; * is any, - none',
      score: 'with such a score: quality, quality=8.. or quality=1..3',
      since: 'asked at this time or later',
      limit: `at most so many (${DEFAULT_ROWS})`,
    },
    example: 'prompts log --prompt triage --score quality=1..3 --since 2026-01-31',
    async run(session) {
      const { values } = session;
      const prompt = promptOf(textOf(values, 'prompt'));
      const reply = await session.clients.prompt.listInvocations({
        ...prompt,
        ...{ deployment: textOf(values, 'deployment'), caller: textOf(values, 'caller') },
        ...{ error: textOf(values, 'error'), ...scoreOf(textOf(values, 'score')), ...sinceOf(values) },
        pageSize: numberOf(values, 'limit') ?? DEFAULT_ROWS,
      });
      session.print(ListInvocationsResponseSchema, reply, () =>
        table(
          ['INVOCATION', 'TIME', 'PROMPT', 'DEPLOYMENT', 'RESULT', 'COST', 'SCORES', 'ANSWER'],
          reply.invocations.map(row),
        ),
      );
    },
  },
  'prompts score': {
    usage: 'prompts score INVOCATION VALUE',
    summary: 'Scores an invocation: 1 to 10, or any number under a name of its own.',
    arguments: ['INVOCATION', 'VALUE'],
    options: { name: { type: 'string' }, reason: { type: 'string' } },
    meaning: { name: 'name of the score (quality)', reason: 'why' },
    example:
      'prompts score 01998f2e-7d3b-7000-8000-0123456789ab 8 --reason "clear, and says when to see a doctor"',
    async run(session) {
      const [invocationId, text] = session.args;
      const value = Number(text);
      if (!Number.isFinite(value)) throw new UsageError(`VALUE is a number and not '${text}'`);
      const name = textOf(session.values, 'name') || 'quality';
      const score = { name, value, reason: textOf(session.values, 'reason') };
      const reply = await session.clients.prompt.scoreInvocation({ invocationId: invocationId!, score });
      session.print(ScoreInvocationResponseSchema, reply, () => `${invocationId} has ${name} ${value}`);
    },
  },
};
