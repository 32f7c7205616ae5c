import { randomUUID } from 'node:crypto';
import { create, type DescMethod, getOption, type Message } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { type Identity, roleReaches } from '@landfall/common/identity/identity.ts';
import { Role, role as roleOption } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reflectedMethods } from '../../prompt/test/reflected.ts';
import { answerOf, picture, seeing } from './seeing.ts';
import { type Stage, stage } from './stage.ts';

/** Something of everything, of one tenant. */
interface Place {
  profile: string;
  report: string;
  review: string;
  batch: string;
  collection: string;
  image: Buffer;
}

const tenant = 'acme';
let at: Stage | undefined;
let place: Place;

beforeAll(async () => {
  at = await stage({
    eye: seeing(() => ({ text: answerOf(['scratch', 'slight', [1, 2, 3, 4]]), report: 0.5 })),
  });
  if (!at) return;
  const image = await picture();
  const profile = `own-${randomUUID()}`;
  const { spec } = (await at.profiles.getProfile({ name: 'surface' })).profile!;
  await at.profiles.putProfile({ name: profile, spec: { ...spec!, deployment: 'eye' } });
  const { report } = await at.vision.inspect({ profile, image: { content: image } });
  const batch = randomUUID();
  await at.sql(`insert into batch (id, tenant, state, profile, profile_version, dataset, deployment, line, total, done, failed,
    defective, failure, author, author_role, owner, lease_ms, created_ms, ended_ms, revision)
    values ('${batch}', '${tenant}', 2, '${profile}', 1, '', '', '', 0, 0, 0, 0, '', '', 2, '', 0, 1, 1, 1)`);
  const collection = 'products';
  await at.channel.client(CollectionService).createCollection({ collection, dimensions: 2 });
  place = { profile, report: report!.id, review: report!.reviewId, batch, collection, image };
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

/** What a method answers a caller who may. What is not there for other reasons answers with its own code. */
type Reached = 'OK' | 'FAILED_PRECONDITION';

interface Expectation {
  request: (place: Place) => object;
  reached?: Reached;
  /** What another tenant's caller with the role is answered: what it names is not there, or all is its own. */
  elsewhere: 'NOT_FOUND' | 'OK' | 'FAILED_PRECONDITION';
}

const named = (request: Expectation['request'], reached: Reached = 'OK'): Expectation => ({
  ...{ request, reached, elsewhere: 'NOT_FOUND' },
});
const everyone = (request: Expectation['request']): Expectation => ({ request, elsewhere: 'OK' });
const one = (what: 'report' | 'review' | 'batch') => (place: Place) => ({ id: place[what] });
const image = ({ image: content }: Place) => ({ content });
const disposition = { conclusion: 'c', advice: 'a' };
const spec = {
  language: 'en',
  sound: disposition,
  defectTypes: [{ id: 'x', name: 'x', dispositions: [disposition] }],
};

/** One for every method that these services have: a method without one fails the test. */
const expectations: Record<string, Record<string, Expectation>> = {
  VisionInferenceService: {
    Inspect: named((place) => ({ profile: place.profile, image: image(place) })),
    InspectStream: everyone((place) => ({ requests: [{ profile: place.profile, image: image(place) }] })),
    Chat: everyone((place) => ({
      model: 'eye',
      images: [image(place)],
      messages: [{ role: 'user', content: 'x' }],
    })),
    // Without a registry there are no models.
    Embed: {
      ...{ reached: 'FAILED_PRECONDITION', elsewhere: 'FAILED_PRECONDITION' },
      request: () => ({ model: 'models:/x/1.0.0', texts: ['x'] }),
    },
    Search: named(({ collection }) => ({ collection, vector: [1, 0] })),
  },
  CollectionService: {
    CreateCollection: everyone(() => ({ collection: `c-${randomUUID()}`, dimensions: 2 })),
    GetCollection: named(({ collection }) => ({ collection })),
    ListCollections: everyone(() => ({})),
    DeleteCollection: named(() => ({ collection: 'not-there' })),
    PutEntries: named(({ collection }) => ({ collection, entries: [{ id: 'x', vector: [1, 0] }] })),
    DeleteEntries: named(({ collection }) => ({ collection, ids: ['x'] })),
  },
  InspectionService: {
    GetReport: named(one('report')),
    ListReports: everyone(() => ({})),
    GetReportImage: named(one('report')),
    ExplainReport: named(one('report')),
    GetStatistics: named(({ profile }) => ({ profile })),
    // Without a registry there are no data sets: whoever may ask is told so.
    StartBatch: {
      ...{ reached: 'FAILED_PRECONDITION', elsewhere: 'FAILED_PRECONDITION' },
      request: ({ profile }) => ({ profile, dataset: 'models:/x/1.0.0' }),
    },
    GetBatch: named(one('batch')),
    WatchBatch: named(one('batch')),
    CancelBatch: named(one('batch')),
  },
  ProfileService: {
    PutProfile: everyone(() => ({ name: `p-${randomUUID()}`, spec })),
    GetProfile: named(({ profile }) => ({ name: profile })),
    ListProfiles: everyone(() => ({})),
    ListChanges: everyone(() => ({})),
    DeleteProfile: named(() => ({ name: 'not-there' }), 'OK'),
    CalibrateProfile: named(
      ({ profile }) => ({ name: profile, model: 'models:/eye/1.0.0' }),
      'FAILED_PRECONDITION',
    ),
  },
  ReviewService: {
    ListReviews: everyone(() => ({})),
    GetReview: named(one('review')),
    // The claim of whoever was first holds for the others too: both say that they reached it.
    ClaimReview: named(one('review')),
    ReleaseReview: named(one('review')),
    DecideReview: named(({ review: id }) => ({ id, confirm: true }), 'FAILED_PRECONDITION'),
    ListDecisions: named(one('review')),
    ExportCorrections: named(({ profile }) => ({ profile, dataset: 'd' }), 'FAILED_PRECONDITION'),
  },
};

const ROLES = [Role.UNSPECIFIED, Role.VIEWER, Role.INVOKER, Role.EDITOR, Role.ADMIN];

async function answer(method: DescMethod, request: object, identity: Identity): Promise<string> {
  const message = create(method.input, request as never) as Message;
  try {
    if (method.methodKind === 'unary') await at!.channel.unary(method, message, { identity });
    else for await (const _ of at!.channel.serverStream(method, message, { identity }));
    return 'OK';
  } catch (error) {
    if (error instanceof LandfallError) return status[error.code];
    throw error;
  }
}

test('each method answers each role and tenant as declared: nothing is allowed that should not be', async (t) => {
  if (!at) return t.skip();
  const methods = await reflectedMethods(at.channel, 'landfall.vision.v1.');
  const wrong: string[] = [];
  let cells = 0;
  for (const method of methods) {
    const service = method.parent.name;
    const expectation = expectations[service]?.[method.name];
    if (!expectation) {
      wrong.push(`${service}.${method.name} has no expectation`);
      continue;
    }
    const needed = getOption(method, roleOption);
    if ([Role.UNSPECIFIED, Role.PUBLIC].includes(needed))
      wrong.push(`${method.name} declares ${Role[needed]}`);
    for (const role of ROLES) {
      for (const where of [tenant, 'other']) {
        const identity = { subject: `user:${Role[role]}`, tenant: where, role };
        const reached = where === tenant ? (expectation.reached ?? 'OK') : expectation.elsewhere;
        const wanted = roleReaches(role, needed) ? reached : 'PERMISSION_DENIED';
        const got = await answer(method, expectation.request(place), identity);
        cells++;
        const held = method.name === 'ClaimReview' && wanted === 'OK' && got === 'ABORTED';
        const absent =
          ['DeleteProfile', 'DeleteCollection'].includes(method.name) &&
          wanted === 'OK' &&
          got === 'NOT_FOUND';
        if (got !== wanted && !held && !absent) {
          wrong.push(`${method.name} by ${Role[role]} of ${where}: ${got} instead of ${wanted}`);
        }
      }
    }
  }
  expect(wrong).toEqual([]);
  expect(cells).toBe(Object.values(expectations).flatMap(Object.keys).length * ROLES.length * 2);
}, 120_000);
