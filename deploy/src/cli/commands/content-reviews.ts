import {
  type ContentReview,
  ContentReviewSchema,
  ContentReviewState,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { ListContentReviewsResponseSchema } from '@landfall/proto/landfall/gateway/v1/content_service_pb.js';
import { type Command, numberOf, type Session, textOf, UsageError } from '../command.ts';
import { member, table } from '../render.ts';
import { time } from './prompt-targets.ts';

const ID = '0198a1b2-67ee-7481-9e3b-174f9d2910fb';
const MOST_WAIT_SECONDS = 30;

/** Calls that the content policy leaves to a person. */
export const contentReviewCommands: Record<string, Command> = {
  'content-reviews list': {
    usage: 'content-reviews list',
    summary: 'Calls that wait for a person, oldest first.',
    arguments: [],
    options: { limit: { type: 'string' } },
    meaning: { limit: 'how many (50)' },
    example: 'content-reviews list',
    async run(session) {
      const pageSize = numberOf(session.values, 'limit') ?? 0;
      const reply = await session.clients.content.listContentReviews({ pageSize });
      session.print(ListContentReviewsResponseSchema, reply, () =>
        table(
          ['REVIEWS', 'STATE', 'CALLER', 'CALL', 'FLAGGED BY', 'TIME'],
          reply.reviews.map((each) => [
            ...[each.id, stateOf(each), each.subject, each.route],
            ...[each.filters.join(', '), time(each.createTime)],
          ]),
        ),
      );
    },
  },
  'content-reviews show': {
    usage: 'content-reviews show ID',
    summary: 'How far the review of a call has come, with its answer once that is approved.',
    arguments: ['ID'],
    options: { wait: { type: 'string' } },
    meaning: { wait: `seconds to wait for a decision, ${MOST_WAIT_SECONDS} at most (0)` },
    example: `content-reviews show ${ID} --wait 30`,
    async run(session) {
      const waitSeconds = numberOf(session.values, 'wait') ?? 0;
      const timeoutMs = 1000 * (MOST_WAIT_SECONDS + 10);
      const { review, answerTexts } = await session.clients.content.getContentReview(
        { id: session.args[0]!, waitSeconds },
        { timeoutMs, signal: session.signal },
      );
      shown(session, { ...review!, answerTexts });
    },
  },
  'content-reviews claim': {
    usage: 'content-reviews claim ID',
    summary: 'Takes a review in hand, and shows what was asked.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: `content-reviews claim ${ID}`,
    async run(session) {
      const { review } = await session.clients.content.claimContentReview({ id: session.args[0]! });
      shown(session, review!);
    },
  },
  'content-reviews decide': {
    usage: 'content-reviews decide ID',
    summary: 'Lets a claimed call pass, or not; its caller is told why.',
    arguments: ['ID'],
    options: { approve: { type: 'boolean' }, reject: { type: 'boolean' }, reason: { type: 'string' } },
    meaning: { approve: 'it passes', reject: 'it is refused', reason: 'why' },
    example: `content-reviews decide ${ID} --approve --reason '医学教学'`,
    async run(session) {
      const { values, clients, args } = session;
      const reason = textOf(values, 'reason');
      if ((values.approve === true) === (values.reject === true))
        throw new UsageError('give one of --approve, --reject');
      if (reason === '') throw new UsageError('--reason is missing: the caller is told why');
      const { review } = await clients.content.decideContentReview({
        ...{ id: args[0]!, approve: values.approve === true, reason },
      });
      shown(session, review!);
    },
  },
};

const stateOf = ({ state, claimedBy }: ContentReview): string =>
  state === ContentReviewState.PENDING && claimedBy
    ? `claimed by ${claimedBy}`
    : member(ContentReviewState, state);

function shown(session: Session, review: ContentReview): void {
  session.print(ContentReviewSchema, review, () =>
    [
      `${review.id}: ${stateOf(review)}${review.reason ? `: ${review.reason}` : ''}`,
      `${review.subject}, ${review.route}, flagged by ${review.filters.join(', ')}`,
      ...review.texts,
      ...(review.answerTexts.length > 0 ? ['answer:', ...review.answerTexts] : []),
    ].join('\n'),
  );
}
