import { Code, createClient } from '@connectrpc/connect';
import { AdminService } from '@landfall/proto/landfall/gateway/v1/admin_service_pb.js';
import {
  ContentCategory,
  ContentReviewState,
  FilterAction,
  PersonalDataAction,
} from '@landfall/proto/landfall/gateway/v1/content_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { describe, expect, test } from 'vitest';
import {
  chat,
  content,
  type FilterInit,
  setPolicy,
  stage,
  streamed,
  transports,
  useContentMesh,
  user,
  WAYS,
} from './content-mesh.ts';

const { BLOCK, REDACT, FLAG } = FilterAction;
const HARM = '我要用菜刀杀死他全家。';
const ENGLISH_HARM = 'I swear I will stab him and his family to death.';
const violence = (action: FilterAction): FilterInit => ({
  name: 'violence',
  categories: [{ category: ContentCategory.VIOLENCE, threshold: 0.8 }],
  action,
});
const filters = (requestFilters: FilterInit[], answerFilters: FilterInit[]) =>
  setPolicy({
    rules: [
      {
        routes: ['*'],
        requestFilters,
        answers: [{ types: ['phone'], action: PersonalDataAction.MASK }],
        answerFilters,
      },
    ],
  });
const isStream = (way: string) => !/^OpenAI (?:chat|chat, system role|completion)$/.test(way);
let calls = 0;
/** A question that nobody has asked before. */
const fresh = (text: string) => `${text}(${++calls})`;

useContentMesh();

async function invoker(name: string): Promise<string> {
  const admin = createClient(AdminService, transports.gRPC!());
  return (await admin.createKey({ name, role: Role.INVOKER })).secret;
}

describe.each(Object.keys(WAYS))('%s', (name) => {
  const way = WAYS[name]!;

  test('a request of a category is refused, however it is written, and others pass', async (t) => {
    if (!stage.mesh) return t.skip();
    await filters([violence(BLOCK)], []);
    stage.says = '好。';
    for (const text of [HARM, ENGLISH_HARM, [...HARM].join(' '), ENGLISH_HARM.toUpperCase()]) {
      expect(await way(text)).toMatchObject({ text: '', reason: 'content_filter' });
    }
    expect(stage.seen).toEqual([]);
    expect(await way('怎么杀死一个僵尸进程?')).toMatchObject({ text: '好。', reason: '' });
  });

  test('sentences of an answer are redacted; what is blocked is not shown', async (t) => {
    if (!stage.mesh) return t.skip();
    await filters([], [violence(REDACT)]);
    stage.says = `今天天气很好。${HARM}电话13812345678,再见。${ENGLISH_HARM} Thanks for the tea.`;
    const clean = '今天天气很好。[VIOLENCE]电话[PHONE],再见。[VIOLENCE] Thanks for the tea.';
    for (stage.pieceLength = 1; stage.pieceLength <= 7; stage.pieceLength += 3) {
      expect((await way(fresh('说'))).text).toBe(clean);
    }
    await filters([], [violence(BLOCK)]);
    expect(await way(fresh('说'))).toEqual({
      text: isStream(name) ? '今天天气很好。' : '',
      reason: 'content_filter',
      review: '',
    });
  });

  test('a flagged answer waits, and is delivered once it is approved', async (t) => {
    if (!stage.mesh) return t.skip();
    const key = await invoker(`asks ${name}`);
    await filters([], [violence(FLAG), { name: 'medicine', words: ['处方药'], action: FLAG }]);
    for (const [says, filter] of [
      [`先说好的。${HARM}电话13812345678。`, 'violence'],
      ['先说好的。给你开处-方药,电话13812345678。', 'medicine'],
    ] as const) {
      stage.says = says;
      const question = fresh('说');
      const first = await way(question, key);
      expect(first.reason).toBe('review_pending');
      expect(isStream(name) ? '先说好的。给你开'.startsWith(first.text) : first.text === '').toBe(true);
      stage.seen = [];
      // It is not asked again, and waits where it did.
      expect(await way(question, key)).toEqual({ text: '', reason: 'review_pending', review: first.review });
      expect(stage.seen).toEqual([]);
      const { review } = await content().claimContentReview({ id: first.review });
      const shown = says.replace('13812345678', '[PHONE]');
      expect(review).toMatchObject({ ofAnswer: true, filters: [filter], answerTexts: [shown] });
      expect(review!.texts.join()).toContain(question);
      const waiting = content(key).getContentReview({ id: first.review, waitSeconds: 30 });
      await content().decideContentReview({ id: first.review, approve: true, reason: '小说' });
      expect(await waiting).toMatchObject({
        answerTexts: [shown],
        review: { state: ContentReviewState.APPROVED, answerTexts: [], texts: [] },
      });
      expect(await way(question, key)).toEqual({ text: shown, reason: '', review: '' });
      expect(stage.seen).toEqual([]);
    }
  });

  test('an answer that was rejected stays away', async (t) => {
    if (!stage.mesh) return t.skip();
    const key = await invoker(`rejected ${name}`);
    await filters([], [violence(FLAG)]);
    stage.says = HARM;
    const question = fresh('说');
    const { review: id } = await way(question, key);
    await content().claimContentReview({ id });
    await content().decideContentReview({ id, approve: false, reason: '不行' });
    expect(await way(question, key)).toMatchObject({ text: '', reason: 'review_rejected' });
    const { answerTexts, review } = await content(key).getContentReview({ id });
    expect(answerTexts).toEqual([]);
    expect(review).toMatchObject({ state: ContentReviewState.REJECTED, reason: '不行' });
  });
});

test('an answer is its caller’s alone, put back into their own words, and blocked still where it must be', async (t) => {
  if (!stage.mesh) return t.skip();
  const [key, stranger] = [await invoker('owner'), await invoker('other')];
  await setPolicy({
    rules: [
      {
        routes: ['*'],
        requests: [{ types: ['person', 'phone'], action: PersonalDataAction.PSEUDONYM }],
        answers: [{ types: ['card'], action: PersonalDataAction.BLOCK }],
        answerFilters: [{ name: 'medicine', words: ['处方药'], action: FLAG }],
      },
    ],
  });
  const chatOf = WAYS['OpenAI chat, streamed']!;
  const question = fresh('患者王建国要处方药');
  const { review: id, reason } = await chatOf(question, key);
  expect(reason).toBe('review_pending');
  const { review } = await content().claimContentReview({ id });
  expect(review!.answerTexts.join()).toMatch(/^患者PERSON_[0-9A-F]{8}要处方药/);
  await content().decideContentReview({ id, approve: true, reason: '可以' });
  expect((await chatOf(question, key)).text).toBe(question);
  expect((await content(key).getContentReview({ id })).answerTexts).toEqual([question]);
  expect((await content().getContentReview({ id })).answerTexts).toEqual([]);
  await expect(content(stranger).getContentReview({ id })).rejects.toMatchObject({ code: Code.NotFound });
  // Another caller's same call is their own.
  expect((await chatOf(question, stranger)).review).not.toBe(id);
  stage.says = '处方药,卡4111111111111111。';
  const { events } = await streamed(await chat(user(fresh('卡')), { stream: true }));
  expect(events).toContain('personal_data');
});

test('two calls at once have one review, and it expires with its answer', async (t) => {
  if (!stage.mesh) return t.skip();
  const key = await invoker('twice');
  await filters([], [violence(FLAG)]);
  stage.says = HARM;
  const question = fresh('说');
  const both = await Promise.all([1, 2].map(() => WAYS['OpenAI chat']!(question, key)));
  expect(both[0]!.review).toBe(both[1]!.review);
  const { review } = await content(key).getContentReview({ id: both[0]!.review });
  const left = Number(review!.expireTime!.seconds) * 1000 - Date.now();
  expect(left).toBeGreaterThan(86_000_000);
  expect(left).toBeLessThanOrEqual(86_400_000);
});

test('a policy that is tried tells categories and their scores', async (t) => {
  if (!stage.mesh) return t.skip();
  const policy = { rules: [{ routes: ['*'], answerFilters: [violence(REDACT)] }] };
  const texts = [`好。${HARM}`, '好。'];
  const { outcomes, changed } = await content().tryContentPolicy({
    policy,
    route: 'x',
    answers: true,
    texts,
  });
  expect(changed).toBe(1);
  expect(outcomes[0]).toMatchObject({ text: '好。[VIOLENCE]' });
  const [finding] = outcomes[0]!.findings;
  expect(finding).toMatchObject({ type: 'violence', startPosition: 2, category: ContentCategory.VIOLENCE });
  expect(finding!.score).toBeGreaterThan(0.8);
});

test('a category that stands twice is refused by its field', async (t) => {
  if (!stage.mesh) return t.skip();
  const category = { category: ContentCategory.HATE, threshold: 0.5 };
  const twice = { name: 'x', categories: [category, category], action: BLOCK };
  await expect(setPolicy({ rules: [{ routes: ['*'], answerFilters: [twice] }] })).rejects.toMatchObject({
    code: Code.InvalidArgument,
    message: expect.stringContaining('answer_filters[0].categories[1]'),
  });
});
