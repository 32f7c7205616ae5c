import { readFileSync } from 'node:fs';
import { TestSetSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import { ListTestSetsResponseSchema } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import { type Command, numberOf, reference, type Session, textOf, UsageError } from '../command.ts';
import { table } from '../render.ts';

/** Where the rows come from. @throws UsageError unless exactly one place is named */
async function sourceOf(session: Session) {
  const { values } = session;
  const [file, data, prompt] = ['file', 'data', 'invocations'].map((name) => textOf(values, name)) as [
    string,
    string,
    string,
  ];
  if ([file, data, prompt].filter((text) => text !== '').length !== 1) {
    throw new UsageError('give one of --file, --data and --invocations');
  }
  if (file) return { case: 'jsonLines' as const, value: readFileSync(file, 'utf8') };
  if (data) return { case: 'dataset' as const, value: await reference(session, data) };
  const value = {
    prompt,
    score: textOf(values, 'score') || 'quality',
    minimum: numberOf(values, 'minimum') ?? 8,
  };
  return { case: 'invocations' as const, value };
}

export const testSetCommands: Record<string, Command> = {
  'tests create': {
    usage: 'tests create NAME --file ROWS.jsonl',
    summary: 'A version of a test set, from JSON lines, a data set, or invocations that were found good.',
    arguments: ['NAME'],
    options: {
      file: { type: 'string' },
      data: { type: 'string' },
      invocations: { type: 'string' },
      score: { type: 'string' },
      minimum: { type: 'string' },
      description: { type: 'string' },
    },
    meaning: {
      file: 'an object a line: variables, expected, checks, tags; or the variables themselves beside expected',
      data: 'data set in the registry',
      invocations: 'prompt whose logged invocations are taken',
      score: 'score that they must have (quality)',
      minimum: 'least value of the score (8)',
      description: 'for people',
    },
    example: 'tests create triage-checks --file checks.jsonl',
    async run(session) {
      const { testSet } = await session.clients.evaluation.createTestSet({
        name: session.args[0]!,
        description: textOf(session.values, 'description'),
        source: await sourceOf(session),
      });
      session.print(TestSetSchema, testSet!, () => `${testSet!.ref}  ${testSet!.rows} rows`);
    },
  },
  'tests list': {
    usage: 'tests list',
    summary: 'Test sets, each in its newest version.',
    arguments: [],
    options: {},
    meaning: {},
    example: 'tests list',
    async run(session) {
      const reply = await session.clients.evaluation.listTestSets({ pageSize: 500 });
      session.print(ListTestSetsResponseSchema, reply, () =>
        table(
          ['TEST SET', 'ROWS', 'SOURCE', 'DESCRIPTION'],
          reply.testSets.map(({ ref, rows, source, description }) => [ref, `${rows}`, source, description]),
        ),
      );
    },
  },
};
