import { ListOptimizationTriesResponseSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { OptimizationMove, OptimizationSchema } from '@landfall/proto/landfall/prompt/v1/optimization_pb.js';
import { type Command, enumOf, listOf, numberOf, textOf, UsageError } from '../command.ts';
import { figure, followOptimization } from '../follow-prompt-job.ts';
import { member, table } from '../render.ts';
import { measuring, measuringMeaning, testsOf } from './prompt-evaluation.ts';
import { promptOf } from './prompts.ts';

export const promptOptimizationCommands: Record<string, Command> = {
  'prompts optimize': {
    usage: 'prompts optimize NAME --tests SET --deployment NAME --metric exact_match',
    summary:
      'Proposes better versions and measures them, within a budget; the best becomes a version, no label moves.',
    arguments: ['NAME'],
    options: {
      ...measuring,
      metric: { type: 'string' },
      rewriter: { type: 'string' },
      move: { type: 'string', multiple: true },
      calls: { type: 'string' },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      seed: { type: 'string' },
      follow: { type: 'boolean' },
    },
    meaning: {
      ...measuringMeaning,
      deployment: 'who answers',
      metric: 'what is to be raised, such as exact_match or rouge_l (required)',
      rewriter: 'deployment that writes instructions; the one that answers where it is not given',
      move: 'instruction, examples, format, structure; may be repeated, all without it',
      calls: 'most answers',
      seconds: 'most time',
      rounds: 'most rounds of proposals',
      seed: 'splits the rows and draws the proposals',
      follow: 'stay, show its progress and what came of it',
    },
    example: 'prompts optimize triage --tests triage-checks --deployment chat --metric exact_match --follow',
    async run(session) {
      const { values, clients } = session;
      const deployments = listOf(values, 'deployment');
      if (deployments.length !== 1) throw new UsageError('--deployment names the one that answers');
      const { optimization } = await clients.prompt.optimizePrompt({
        ...promptOf(session.args[0]!),
        dataset: testsOf(textOf(values, 'tests')),
        deployment: deployments[0]!,
        metric: textOf(values, 'metric'),
        rewriter: textOf(values, 'rewriter'),
        moves: listOf(values, 'move').map((text) => enumOf(OptimizationMove, text, '--move')),
        budget: {
          maxCalls: numberOf(values, 'calls') ?? 0,
          maxSeconds: numberOf(values, 'seconds') ?? 0,
          maxRounds: numberOf(values, 'rounds') ?? 0,
        },
        seed: BigInt(numberOf(values, 'seed') ?? 0),
        concurrency: numberOf(values, 'concurrency') ?? 0,
        startOnly: true,
      });
      const { id } = optimization!;
      if (!values.follow) return session.line(session.json ? JSON.stringify({ id }) : id);
      const done = await followOptimization(session, id);
      session.print(OptimizationSchema, done, () =>
        [done.version ? `${done.name}/${done.version}` : 'no version', done.conclusion].join('\n'),
      );
    },
  },
  'prompts tries': {
    usage: 'prompts tries ID',
    summary: 'What an optimisation has tried, with scores and reasons.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'prompts tries 0198a1b2-...',
    async run(session) {
      const reply = await session.clients.evaluation.listOptimizationTries({
        optimizationId: session.args[0]!,
        pageSize: 500,
      });
      session.print(ListOptimizationTriesResponseSchema, reply, () =>
        table(
          ['TRY', 'FROM', 'MOVE', 'ROWS', 'SCORE', 'HELD OUT', 'WHY', 'OUTCOME'],
          reply.tries.map((one) => [
            ...[`${one.number}`, `${one.parent}`, one.number === 0 ? '' : member(OptimizationMove, one.move)],
            ...[`${one.rows}`, figure(one.score)],
            ...[one.heldOutScore === undefined ? '' : figure(one.heldOutScore), one.reason, one.outcome],
          ]),
        ),
      );
    },
  },
};
