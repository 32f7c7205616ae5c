import { status } from '@grpc/grpc-js';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { type Review, ReviewCause, Severity } from '@landfall/proto/landfall/vision/v1/inspection_pb.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { answerOf, picture, seeing } from './seeing.ts';
import { type Stage, stage } from './stage.ts';

let at: Stage | undefined;
const scratch = answerOf(['scratch', 'moderate', [10, 20, 30, 40]]);
const eye = seeing(({ constraint }) =>
  String(constraint?.kind.value).includes('findings')
    ? { text: JSON.stringify({ findings: ['影像清晰'], impression: ['正常'], recommendation: ['随访'] }) }
    : { text: scratch, report: 0.5 },
);

beforeAll(async () => {
  at = await stage({ eye });
  if (!at) return;
  const { spec } = (await at.profiles.getProfile({ name: 'surface' })).profile!;
  const review = {
    $typeName: 'landfall.vision.v1.ReviewPolicy',
    ...policy,
    twoPerson: true,
    always: true,
  } as const;
  await at.profiles.putProfile({ name: 'two-person', spec: { ...spec!, review } });
  await at.profiles.putProfile({
    name: 'hasty',
    spec: { ...spec!, review: { ...review, twoPerson: false, claimSeconds: 1 } },
  });
}, 60_000);
afterAll(() => at?.[Symbol.asyncDispose]());

const policy = { sampleRate: 0, uncertainFrom: 0, uncertainTo: 0, claimSeconds: 60 };
const person = (name: string): { identity: Identity } => ({
  identity: { subject: `user:${name}`, tenant: 'acme', role: Role.EDITOR },
});
const [ann, bo, cy] = [person('ann'), person('bo'), person('cy')];

async function waiting(profile = 'surface'): Promise<Review> {
  const image = { content: await picture() };
  const { reviewId } = (await at!.vision.inspect({ profile, deployment: 'eye', image })).report!;
  return (await at!.reviews.getReview({ id: reviewId })).review!;
}

const crack = { type: 'crack', severity: Severity.SEVERE, box: { x0: 100, y0: 50, x1: 150, y1: 90 } };

test('a review is claimed by one, decided by them, and the report says so', async (t) => {
  if (!at) return t.skip();
  const { reviews, inspections } = at;
  const { id, report, cause } = await waiting();
  expect([cause, report!.needsReview]).toEqual([ReviewCause.UNCERTAIN, true]);
  await expect(reviews.decideReview({ id, confirm: true }, ann)).rejects.toMatchObject({
    reason: 'NOT_CLAIMED',
  });
  const { review } = await reviews.claimReview({ id, requestId: 'c1' }, ann);
  expect(review).toMatchObject({ claimedBy: 'user:ann', decided: false });
  await expect(reviews.claimReview({ id }, bo)).rejects.toMatchObject({
    ...{ code: status.ABORTED, reason: 'REVIEW_CLAIMED' },
  });
  await expect(reviews.decideReview({ id, confirm: true }, bo)).rejects.toMatchObject({
    ...{ code: status.FAILED_PRECONDITION, reason: 'NOT_CLAIMED' },
  });
  const decided = await reviews.decideReview({ id, confirm: true, reason: 'seen', requestId: 'd1' }, ann);
  expect(decided.review).toMatchObject({
    ...{ decided: true, confirmed: true, reviewers: ['user:ann'], reason: 'seen', claimedBy: '' },
    decidedDefects: [{ type: 'scratch' }],
  });
  expect(await reviews.decideReview({ id, confirm: true, reason: 'seen', requestId: 'd1' }, ann)).toEqual(
    decided,
  );
  expect((await inspections.getReport({ id: report!.id })).report!.needsReview).toBe(false);
  const over = { code: status.FAILED_PRECONDITION, reason: 'REVIEW_DECIDED' };
  await expect(reviews.claimReview({ id }, bo)).rejects.toMatchObject(over);
  await expect(reviews.decideReview({ id, confirm: true }, ann)).rejects.toMatchObject(over);
});

test('a correction is checked by the catalogue and the image, and rewrites the six lines', async (t) => {
  if (!at) return t.skip();
  const { reviews } = at;
  const { id } = await waiting();
  await reviews.claimReview({ id }, ann);
  const wrong: [object[], string][] = [
    [[{ ...crack, type: 'hole' }], 'defects[0].type'],
    [[crack, { ...crack, severity: Severity.UNSPECIFIED }], 'defects[1].severity'],
    [[{ ...crack, box: { x0: 10, y0: 0, x1: 201, y1: 9 } }], 'defects[0].box'],
    [[{ ...crack, box: { x0: 10, y0: 0, x1: 10, y1: 9 } }], 'defects[0].box'],
  ];
  for (const [defects, field] of wrong) {
    await expect(reviews.decideReview({ id, defects }, ann)).rejects.toMatchObject({
      ...{ code: status.INVALID_ARGUMENT, fieldViolations: [{ field }] },
    });
  }
  await expect(reviews.decideReview({ id, confirm: true, defects: [crack] }, ann)).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
  });
  const { review } = await reviews.decideReview({ id, defects: [crack] }, ann);
  expect(review).toMatchObject({
    confirmed: false,
    decidedDefects: [{ ...crack, name: '裂纹', position: '下部' }],
  });
  expect(review!.decidedText.split('\n').slice(0, 5)).toEqual([
    ...['缺陷检测结果:检出缺陷', '缺陷类型:裂纹', '缺陷位置:下部', '严重程度:严重'],
    '检测结论:存在严重裂纹,产品不合格',
  ]);
  const sound = await waiting();
  await reviews.claimReview({ id: sound.id }, ann);
  const none = (await reviews.decideReview({ id: sound.id, defects: [] }, ann)).review!;
  expect(none.decidedText).toMatch(/^缺陷检测结果:未检出缺陷\n缺陷类型:无/);
});

test('the same words as the report’s confirm it, though nobody says so', async (t) => {
  if (!at) return t.skip();
  const { id, report } = await waiting();
  await at.reviews.claimReview({ id }, ann);
  const defects = report!.defects.map(({ type, severity }) => ({ type, severity }));
  expect((await at.reviews.decideReview({ id, defects }, ann)).review).toMatchObject({ confirmed: true });
});

test('two people decide without reading each other; where they differ, a third does', async (t) => {
  if (!at) return t.skip();
  const { reviews } = at;
  const agreed = await waiting('two-person');
  const say = async (id: string, who: typeof ann, words: object) => {
    await reviews.claimReview({ id }, who);
    return (await reviews.decideReview({ id, ...words }, who)).review!;
  };
  expect(await say(agreed.id, ann, { confirm: true })).toMatchObject({
    decided: false,
    decisions: 1,
    reviewers: [],
  });
  await expect(reviews.claimReview({ id: agreed.id }, ann)).rejects.toMatchObject({
    ...{ code: status.FAILED_PRECONDITION, reason: 'ANOTHER_PERSON_NEEDED' },
  });
  expect((await reviews.listDecisions({ id: agreed.id })).decisions).toEqual([]);
  expect(await say(agreed.id, bo, { confirm: true })).toMatchObject({
    ...{ decided: true, confirmed: true, decisions: 2, reviewers: ['user:ann', 'user:bo'] },
  });
  const disputed = await waiting('two-person');
  await say(disputed.id, ann, { confirm: true });
  expect(await say(disputed.id, bo, { defects: [crack] })).toMatchObject({ decided: false, decisions: 2 });
  await expect(reviews.claimReview({ id: disputed.id }, bo)).rejects.toMatchObject({
    reason: 'ANOTHER_PERSON_NEEDED',
  });
  expect(await say(disputed.id, cy, { defects: [crack], reason: 'a crack' })).toMatchObject({
    ...{ decided: true, confirmed: false, decisions: 3, reviewers: ['user:ann', 'user:bo', 'user:cy'] },
  });
  const { decisions } = await reviews.listDecisions({ id: disputed.id });
  expect(decisions.map(({ number, reviewer, confirms }) => [number, reviewer, confirms])).toEqual([
    [1, 'user:ann', true],
    [2, 'user:bo', false],
    [3, 'user:cy', false],
  ]);
});

test('the database lets nobody change a decision or a record', async (t) => {
  if (!at) return t.skip();
  const { id } = await waiting();
  await at.reviews.claimReview({ id }, ann);
  await at.reviews.decideReview({ id, confirm: true }, ann);
  for (const statement of [
    "update review_decision set content = '{}'",
    'delete from review_decision',
    "update vision_audit set subject = 'nobody'",
    'delete from vision_audit',
  ]) {
    await expect(at.sql(statement)).rejects.toThrow(/can only be added to/);
  }
  const admin = { identity: { subject: 'user:admin', tenant: 'acme', role: Role.ADMIN } };
  const { changes } = await at.profiles.listChanges({ target: `reviews/${id}` }, admin);
  expect(changes.map(({ action, subject, detail }) => `${action} ${subject} ${detail}`)).toEqual([
    'review.confirmed user:ann surface',
    'review.claimed user:ann surface',
    'review.waiting key:editor surface',
  ]);
});

test('a claim ends by itself, or is put back; then another takes it', async (t) => {
  if (!at) return t.skip();
  const { reviews } = at;
  const { id } = await waiting('hasty');
  await reviews.claimReview({ id }, ann);
  await reviews.releaseReview({ id }, bo);
  expect((await reviews.getReview({ id })).review!.claimedBy).toBe('user:ann');
  // The claim of one second runs out while we ask.
  await expect
    .poll(
      () =>
        reviews.claimReview({ id }, bo).then(
          () => 'bo',
          () => '',
        ),
      { timeout: 10_000 },
    )
    .toBe('bo');
  await expect(reviews.decideReview({ id, confirm: true }, ann)).rejects.toMatchObject({
    reason: 'NOT_CLAIMED',
  });
  await reviews.releaseReview({ id }, bo);
  expect((await reviews.claimReview({ id }, ann)).review!.claimedBy).toBe('user:ann');
});

test('the queue is read by profile, cause and who may take what, oldest first', async (t) => {
  if (!at) return t.skip();
  const { reviews, vision } = at;
  const queue = (name: string) => ({
    identity: { subject: `user:${name}`, tenant: 'queue', role: Role.EDITOR },
  });
  const ids: string[] = [];
  for (const profile of ['surface', 'surface-en', 'scan-report', 'surface']) {
    const image = { content: await picture() };
    ids.push((await vision.inspect({ profile, deployment: 'eye', image }, queue('x'))).report!.reviewId);
  }
  const list = async (request: object, who = queue('ann')) => {
    const found: number[] = [];
    let pageToken = '';
    do {
      const page = await reviews.listReviews({ ...request, pageSize: 2, pageToken }, who);
      found.push(...page.reviews.map(({ id }) => ids.indexOf(id)));
      pageToken = page.nextPageToken;
    } while (pageToken);
    return found;
  };
  expect(await list({})).toEqual([0, 1, 2, 3]);
  expect(await list({ profile: 'surface' })).toEqual([0, 3]);
  expect(await list({ cause: ReviewCause.SIGNATURE })).toEqual([2]);
  await reviews.claimReview({ id: ids[0]! }, queue('bo'));
  expect(await list({ claimable: true })).toEqual([1, 2, 3]);
  expect(await list({ claimable: true }, queue('bo'))).toEqual([0, 1, 2, 3]);
  await reviews.decideReview({ id: ids[0]!, confirm: true }, queue('bo'));
  expect(await list({})).toEqual([1, 2, 3]);
  expect(await list({ includeDecided: true })).toEqual([0, 1, 2, 3]);
});

test('assistance is signed: its parts are corrected, and the text names who signed', async (t) => {
  if (!at) return t.skip();
  const { id } = await waiting('scan-report');
  await at.reviews.claimReview({ id }, ann);
  await expect(
    at.reviews.decideReview({ id, sections: [{ id: 'diagnosis', lines: ['x'] }] }, ann),
  ).rejects.toMatchObject({ fieldViolations: [{ field: 'sections[0].id' }] });
  const sections = [{ id: 'impression', lines: ['右肺结节', '建议复查'] }];
  const { decidedText, confirmed } = (await at.reviews.decideReview({ id, sections }, ann)).review!;
  expect(confirmed).toBe(false);
  expect(decidedText.split('\n').slice(1)).toEqual([
    ...['检查所见:影像清晰', '印象:', '1. 右肺结节', '2. 建议复查', '建议:随访', '审核签字:user:ann'],
  ]);
});

test('another tenant finds no review, and a viewer decides none', async (t) => {
  if (!at) return t.skip();
  const { id } = await waiting();
  const elsewhere = { identity: { subject: 'user:ann', tenant: 'other', role: Role.ADMIN } };
  const { reviews } = at;
  for (const call of [reviews.getReview, reviews.claimReview, reviews.releaseReview, reviews.listDecisions]) {
    await expect(call({ id }, elsewhere)).rejects.toMatchObject({ code: status.NOT_FOUND });
  }
  await expect(reviews.decideReview({ id, confirm: true }, elsewhere)).rejects.toMatchObject({
    code: status.NOT_FOUND,
  });
  const invoker = { identity: { subject: 'user:ann', tenant: 'acme', role: Role.INVOKER } };
  await expect(reviews.claimReview({ id }, invoker)).rejects.toMatchObject({
    code: status.PERMISSION_DENIED,
  });
});
