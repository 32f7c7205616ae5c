import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import type { Database } from '@landfall/common/db/database.ts';
import { failedPrecondition, type LandfallError, notFound } from '@landfall/common/errors/errors.ts';
import { ContentReviewState } from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { v7 as uuidv7 } from 'uuid';
import { ContentReviewSchema, type KeptContentReview } from '../db/content-entities.ts';
import type { Flow } from '../edge/governance.ts';
import { routeName } from '../edge/route-name.ts';
import type { SecretBox } from '../webhooks/secret.ts';
import { textsIn } from './texts.ts';

/** How long a review waits, and how long its decision holds. */
export const REVIEW_MS = 86_400_000;
/** How often another gateway's decision is looked for while a caller waits. */
const LOOK_MS = 250;

const { PENDING, APPROVED, REJECTED } = ContentReviewState;

export interface Flagged {
  /** What was asked. */
  texts: readonly string[];
  filters: readonly string[];
  version: number;
}

/** An answer that was flagged. */
export interface FlaggedAnswer extends Flagged {
  /** What the model said, for who reviews. */
  answerTexts: readonly string[];
  /** The answer as its caller gets it once it is approved. */
  messages: readonly Message[];
}

type What = 'request' | 'answer';

/**
 * Requests and answers that people decide on. A decision is on one caller's very call: same method, same content.
 * Answers are kept, sealed, until their reviews expire or are rejected.
 */
export class Reviews {
  readonly #database: Database;
  readonly #box: SecretBox;

  constructor(database: Database, box: SecretBox) {
    this.#database = database;
    this.#box = box;
  }

  /**
   * Lets a flagged call pass that was approved, and puts any other in the queue.
   * @throws LandfallError FAILED_PRECONDITION, reason REVIEW_PENDING or REVIEW_REJECTED, with the review's id
   */
  async admit(flow: Flow, message: Message, flagged: Flagged): Promise<void> {
    const digest = digestOf('request', flow, message);
    const review = await this.#waiting(flow, digest, flagged, {
      ofAnswer: false,
      answerTexts: '[]',
      answer: '',
    });
    if (review.state !== APPROVED) throw undecided('request', review);
  }

  /**
   * The answer to a call that was flagged before and approved since; undefined where the call is to be answered.
   * @throws LandfallError FAILED_PRECONDITION, reason REVIEW_PENDING or REVIEW_REJECTED, with the review's id
   */
  async answered(flow: Flow, digest: string): Promise<Message[] | undefined> {
    const { tenant, subject } = flow.caller;
    const where = { tenant, subject, digest, expiresMs: { $gt: Date.now() } };
    const review = await this.#database.read((em) => em.findOne(ContentReviewSchema, where));
    if (!review) return undefined;
    if (review.state !== APPROVED) throw undecided('answer', review);
    return this.#opened(review.answer).map((bytes) => fromBinary(flow.call.method.output, bytes));
  }

  /**
   * Keeps a flagged answer for a reviewer.
   * @throws LandfallError always: FAILED_PRECONDITION, reason REVIEW_PENDING, with the review's id
   */
  async hold(flow: Flow, digest: string, flagged: FlaggedAnswer): Promise<never> {
    const { output } = flow.call.method;
    const bytes = flagged.messages.map((message) =>
      Buffer.from(toBinary(output, message)).toString('base64'),
    );
    const texts = [...new Set(flagged.messages.flatMap((message) => textsIn(output, message)))];
    const answer = this.#box.seal(JSON.stringify({ bytes, texts }));
    const answerTexts = JSON.stringify(flagged.answerTexts);
    throw undecided(
      'answer',
      await this.#waiting(flow, digest, flagged, { ofAnswer: true, answerTexts, answer }),
    );
  }

  /** Texts of an answer that was approved. */
  answerTexts({ answer }: KeptContentReview): string[] {
    if (answer === '') return [];
    return (JSON.parse(this.#box.open(answer)) as { texts: string[] }).texts;
  }

  #opened(answer: string): Buffer[] {
    const { bytes } = JSON.parse(this.#box.open(answer)) as { bytes: string[] };
    return bytes.map((one) => Buffer.from(one, 'base64'));
  }

  /** The review of a call; made where there is none. */
  #waiting(
    { call, caller }: Flow,
    digest: string,
    flagged: Flagged,
    answer: Pick<KeptContentReview, 'ofAnswer' | 'answerTexts' | 'answer'>,
  ): Promise<KeptContentReview> {
    const { tenant, subject } = caller;
    const now = Date.now();
    return this.#database.transaction(async (em) => {
      await em.nativeDelete(ContentReviewSchema, { tenant, expiresMs: { $lte: now } });
      const made = {
        ...{ id: uuidv7(), tenant, subject, route: call.route, digest, filters: flagged.filters.join('\n') },
        ...{
          policyVersion: flagged.version,
          texts: JSON.stringify(flagged.texts),
          state: PENDING,
          ...answer,
        },
        ...{ claimedBy: '', decidedBy: '', reason: '', createdMs: now, expiresMs: now + REVIEW_MS },
      };
      // The same call that comes twice at once has one review.
      await em.upsert(ContentReviewSchema, made, {
        onConflictFields: ['tenant', 'subject', 'digest'],
        onConflictAction: 'ignore',
      });
      return em.findOneOrFail(ContentReviewSchema, { tenant, subject, digest });
    });
  }

  /**
   * A review of the tenant that has not expired.
   * @param subject whose it must be; undefined for anyone's
   * @throws LandfallError NOT_FOUND
   */
  async get(tenant: string, id: string, subject?: string): Promise<KeptContentReview> {
    const where = { tenant, id, expiresMs: { $gt: Date.now() }, ...(subject ? { subject } : {}) };
    const found = await this.#database.read((em) => em.findOne(ContentReviewSchema, where));
    if (!found) throw notFound('there is no such review, or it has expired');
    return found;
  }

  /** The same once it is decided, or when the time is over. */
  async decided(
    tenant: string,
    id: string,
    subject: string | undefined,
    waitMs: number,
  ): Promise<KeptContentReview> {
    const until = Date.now() + waitMs;
    for (;;) {
      const review = await this.get(tenant, id, subject);
      const left = until - Date.now();
      if (review.state !== PENDING || left <= 0) return review;
      await delay(Math.min(LOOK_MS, left));
    }
  }
}

/** What a review is on. */
export function digestOf(what: What, { call }: Flow, message: Message): string {
  return createHash('sha256')
    .update(what === 'request' ? `${routeName(call.method)}\n` : `answer\n${routeName(call.method)}\n`)
    .update(toBinary(call.method.input, message))
    .digest('base64url');
}

/** What the caller of a flagged call is told. */
function undecided(what: What, { id, state, filters, reason }: KeptContentReview): LandfallError {
  const metadata = { review: id, filters: filters.replaceAll('\n', ', ') };
  if (state === REJECTED) {
    const message =
      what === 'request'
        ? `a reviewer has refused this request: ${reason}`
        : `a reviewer has refused the answer: ${reason}`;
    return failedPrecondition(message, { reason: 'REVIEW_REJECTED', metadata });
  }
  const message =
    what === 'request'
      ? `this request waits for a reviewer (${id}); GetContentReview tells when it is decided, then send it again`
      : `the answer waits for a reviewer (${id}); once it is approved GetContentReview delivers it, and so does the same call`;
  return failedPrecondition(message, { reason: 'REVIEW_PENDING', metadata });
}
