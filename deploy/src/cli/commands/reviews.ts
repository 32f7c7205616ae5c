import { randomUUID } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import {
  type DefectSchema,
  type Review,
  ReviewCause,
  ReviewSchema,
  Severity,
} from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import {
  ExportCorrectionsResponseSchema,
  ListReviewsResponseSchema,
} from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import {
  type Command,
  enumOf,
  listOf,
  numberOf,
  patient,
  type Session,
  textOf,
  UsageError,
} from '../command.ts';
import { member, table } from '../render.ts';

export const reviewCommands: Record<string, Command> = {
  'reviews list': {
    usage: 'reviews list',
    summary: 'Reports that wait for a person, oldest first.',
    arguments: [],
    options: {
      profile: { type: 'string' },
      decided: { type: 'boolean' },
      mine: { type: 'boolean' },
      limit: { type: 'string' },
    },
    meaning: {
      profile: 'only of this profile',
      decided: 'decided ones too',
      mine: 'only those that this key may claim now',
      limit: 'how many (50)',
    },
    example: 'reviews list --profile surface',
    async run(session) {
      const { values, clients } = session;
      const reply = await clients.reviews.listReviews({
        profile: textOf(values, 'profile'),
        includeDecided: values.decided === true,
        claimable: values.mine === true,
        pageSize: numberOf(values, 'limit') ?? 0,
      });
      session.print(ListReviewsResponseSchema, reply, () => table(HEAD, reply.reviews.map(row)));
    },
  },
  'reviews claim': {
    usage: 'reviews claim ID',
    summary: 'Takes a review in hand for a while, and shows its report.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'reviews claim 01a229cd-67ee-7481-9e3b-174f9d2910fb',
    async run(session) {
      const { review } = await session.clients.reviews.claimReview({ id: session.args[0]! });
      shown(session, review!);
    },
  },
  'reviews release': {
    usage: 'reviews release ID',
    summary: 'Puts a claimed review back.',
    arguments: ['ID'],
    options: {},
    meaning: {},
    example: 'reviews release 01a229cd-67ee-7481-9e3b-174f9d2910fb',
    async run(session) {
      const { review } = await session.clients.reviews.releaseReview({ id: session.args[0]! });
      shown(session, review!);
    },
  },
  'reviews decide': {
    usage: 'reviews decide ID',
    summary: 'Confirms a claimed report, or corrects it: no defect, or the defects as they are.',
    arguments: ['ID'],
    options: {
      confirm: { type: 'boolean' },
      none: { type: 'boolean' },
      defect: { type: 'string', multiple: true },
      reason: { type: 'string' },
    },
    meaning: {
      confirm: 'the report is right',
      none: 'there is no defect',
      defect: 'TYPE:SEVERITY[:X0:Y0:X1:Y1], the box in pixels; again for each',
      reason: 'why',
    },
    example: 'reviews decide 01a229cd-67ee-7481-9e3b-174f9d2910fb --defect crack:severe:10:20:40:60',
    async run(session) {
      const { values, clients, args } = session;
      const defects = listOf(values, 'defect').map(defectOf);
      const ways = [values.confirm === true, values.none === true, defects.length > 0].filter(Boolean);
      if (ways.length !== 1) throw new UsageError('give one of --confirm, --none, --defect');
      const confirm = values.confirm === true;
      const { review } = await clients.reviews.decideReview({
        ...{ id: args[0]!, confirm, defects, reason: textOf(values, 'reason') },
      });
      shown(session, review!);
    },
  },
  'reviews export': {
    usage: 'reviews export PROFILE DATASET',
    summary:
      "Makes decided reports a data set version, and begins the profile's tuning plan where it has one.",
    arguments: ['PROFILE', 'DATASET'],
    options: { corrected: { type: 'boolean' }, limit: { type: 'string' } },
    meaning: { corrected: 'only reports that were wrong', limit: 'the newest so many (10000)' },
    example: 'reviews export surface corrections --corrected',
    async run(session) {
      const { values, clients, args } = session;
      const [profile, dataset] = args as [string, string];
      const request = {
        ...{ profile, dataset, requestId: randomUUID(), correctedOnly: values.corrected === true },
        limit: numberOf(values, 'limit') ?? 0,
      };
      const reply = await clients.reviews.exportCorrections(request, patient(session));
      session.print(ExportCorrectionsResponseSchema, reply, () =>
        [
          `${reply.dataset}: ${reply.rows} rows`,
          ...(reply.withoutImage > 0 ? [`${reply.withoutImage} reports have lost their images`] : []),
          ...(reply.tuningPlanId ? [`plan ${reply.tuningPlanId} has begun`] : []),
        ].join('\n'),
      );
    },
  },
};

const HEAD = ['REVIEW', 'PROFILE', 'LINE', 'CAUSE', 'STATE', 'TIME', 'FOUND'];

function row(review: Review): string[] {
  const { id, report, cause } = review;
  const { profile, line, time, defects } = report!;
  const found = defects.map(({ name, severity }) => `${name} (${member(Severity, severity)})`).join(', ');
  const when = time ? timestampDate(time).toISOString().slice(0, 16) : '';
  return [id, profile, line, member(ReviewCause, cause), stateOf(review), when, found || '-'];
}

function stateOf({ decided, confirmed, claimedBy, decisions }: Review): string {
  if (decided) return confirmed ? 'confirmed' : 'corrected';
  if (claimedBy) return `in hand of ${claimedBy}`;
  return decisions > 0 ? `waits for person ${decisions + 1}` : 'waiting';
}

function shown(session: Session, review: Review): void {
  session.print(ReviewSchema, withoutPicture(review), () =>
    [`${review.id}: ${stateOf(review)}`, review.decidedText || review.report!.text].join('\n'),
  );
}

function withoutPicture(review: Review): Review {
  return { ...review, ...(review.report ? { report: { ...review.report, heatMap: new Uint8Array() } } : {}) };
}

function defectOf(text: string): MessageInitShape<typeof DefectSchema> {
  const [type, severity, ...edges] = text.split(':');
  const numbers = edges.map(Number);
  if (!type || !severity || ![0, 4].includes(edges.length) || numbers.some((edge) => !Number.isFinite(edge)))
    throw new UsageError(`--defect is TYPE:SEVERITY or TYPE:SEVERITY:X0:Y0:X1:Y1 and not '${text}'`);
  const [x0, y0, x1, y1] = numbers;
  return {
    ...{ type, severity: enumOf(Severity, severity, 'the severity of --defect') as Severity },
    ...(edges.length === 4 ? { box: { x0: x0!, y0: y0!, x1: x1!, y1: y1! } } : {}),
  };
}
