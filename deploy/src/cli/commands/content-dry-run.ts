import { timestampFromDate } from '@bufbuild/protobuf/wkt';
import { ContentCategory } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import {
  type DryRunContentPolicyResponse,
  DryRunContentPolicyResponseSchema,
  DryRunOutcome,
  type DryRunReport,
} from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { type Command, numberOf, patient, textOf, UsageError, type Values } from '../command.ts';
import { member, table } from '../render.ts';
import { policyOf } from './content.ts';

export const contentDryRunCommands: Record<string, Command> = {
  'policies dry-run': {
    usage: 'policies dry-run FILE',
    summary:
      'What a content policy would change of past traffic: counts and ids, no texts; nothing is changed.',
    arguments: ['FILE'],
    options: {
      ...{ from: { type: 'string' }, to: { type: 'string' }, prompt: { type: 'string' } },
      ...{ role: { type: 'string' }, limit: { type: 'string' } },
    },
    meaning: {
      from: 'what was asked from this time on',
      to: 'what was asked before this time',
      prompt: 'invocations of this prompt alone',
      role: 'as if callers of this role had asked (your own)',
      limit: 'at most so many invocations, the newest (1000)',
    },
    example: 'policies dry-run policy.json --from 2026-01-01',
    async run(session) {
      const { values, clients, args } = session;
      const [startTime, endTime] = [timeOf(values, 'from'), timeOf(values, 'to')];
      const request = {
        ...{ policy: policyOf(args[0]!), prompt: textOf(values, 'prompt'), role: textOf(values, 'role') },
        ...{
          limit: numberOf(values, 'limit') ?? 0,
          ...(startTime && { startTime }),
          ...(endTime && { endTime }),
        },
      };
      let last: DryRunContentPolicyResponse | undefined;
      for await (const part of clients.content.dryRunContentPolicy(request, patient(session))) {
        last = part;
        if (!part.report) process.stderr.write(`${part.invocations} invocations\n`);
      }
      if (!last?.report) throw new Error('the dry run ended without its report');
      session.print(DryRunContentPolicyResponseSchema, last, () => reportText(last!, last!.report!));
    },
  },
};

function reportText({ invocations, withoutText }: DryRunContentPolicyResponse, report: DryRunReport): string {
  const { changes, reviews, unaskedJudges, imagesUnread, version } = report;
  const rows = changes.map(({ type, category, ofAnswers, before, after, count, sampleIds }) => [
    category ? `${type} (${member(ContentCategory, category)})` : type,
    ofAnswers ? 'answers' : 'requests',
    `${member(DryRunOutcome, before)} -> ${member(DryRunOutcome, after)}`,
    ...[`${count}`, sampleIds.slice(0, 3).join(' ')],
  ]);
  return [
    `${invocations} invocations (${withoutText} without kept text) and ${reviews} waiting calls, against version ${version}`,
    changes.length === 0
      ? 'nothing would change'
      : table(['FOUND', 'IN', 'CHANGE', 'COUNT', 'SUCH AS'], rows),
    ...(unaskedJudges.length > 0 ? [`judges were not asked: ${unaskedJudges.join(', ')}`] : []),
    ...(imagesUnread ? ['images were not read: the log keeps none'] : []),
  ].join('\n');
}

function timeOf(values: Values, name: string) {
  const text = textOf(values, name);
  if (text === '') return undefined;
  const date = new Date(text);
  if (Number.isNaN(date.getTime()))
    throw new UsageError(`--${name} is a time such as 2026-01-31 and not '${text}'`);
  return timestampFromDate(date);
}
