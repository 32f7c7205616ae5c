import { afterAll, beforeAll, expect, test } from 'vitest';
import { likeness, question } from '../src/cache/question.ts';
import { letterVector } from '../src/cache/vectors.ts';
import { type CacheCaller, CacheMesh, soon } from './cache-mesh.ts';

let started: CacheMesh | undefined;
/** Texts that the service of embeddings was given; what it makes of them. */
let embedded: string[] = [];
let embed: (text: string) => number[] = () => [1, 0];

beforeAll(async () => {
  started = await CacheMesh.start({
    vision: {
      embed: ({ texts, model }) => {
        embedded.push(...texts);
        return { model, embeddings: texts.map((text) => ({ values: embed(text) })) };
      },
    },
  });
}, 120_000);
afterAll(() => started?.[Symbol.asyncDispose]());

const it = (name: string, run: (mesh: CacheMesh) => Promise<void>) =>
  test(name, { timeout: 60_000 }, async (t) => (started ? run(started) : t.skip()));
const similar = (threshold: number, embeddingModel = '') => ({
  enabled: true,
  similar: { threshold, embeddingModel },
});
/** Asks until the answer to it is kept, so that others can be compared with it. */
const keep = (admin: CacheCaller, text: string, more = {}) =>
  soon(
    () => admin.ask(text, more),
    ({ cache }) => cache === 'hit',
  );

it('without a choice for it, only the very same request is the same', async ({ replica }) => {
  const admin = await started!.tenant();
  await keep(admin, '请问高血压怎么治疗?');
  expect((await admin.ask('请问高血压怎么治疗')).cache).toBe('miss');
  expect(replica.asked.length).toBe(2);
});

it('by letters: other punctuation, case, politeness and particles, and it says to what degree', async ({
  replica,
}) => {
  const admin = await started!.tenant(similar(0.8));
  const first = await keep(admin, '请问高血压怎么治疗?');
  const again = await admin.ask('高血压怎么治疗呢');
  expect([again.cache, again.text]).toEqual(['similar', first.text]);
  const degree = Number(again.headers.get('x-landfall-cache-similarity'));
  expect(degree).toBeGreaterThanOrEqual(0.8);
  expect(degree).toBeLessThanOrEqual(1);
  expect(again.headers.get('age')).toMatch(/^\d+$/);
  for (const other of ['低血压怎么治疗?', '请问高血压怎么不治疗?', '治疗怎么高血压?', '请问高血糖怎么治疗?'])
    expect([other, (await admin.ask(other)).cache]).toEqual([other, 'miss']);
  // Everything but the question has to be the same.
  for (const more of [{ max_tokens: 5 }, { model: 'qa-2' }, { seed: 1 }])
    expect((await admin.ask('高血压怎么治疗', more)).cache).toBe('miss');
  const messages = [
    { role: 'system', content: 'You are a doctor.' },
    { role: 'user', content: '高血压怎么治疗' },
  ];
  expect((await admin.ask('', { messages })).cache).toBe('miss');
  expect(replica.asked.length).toBe(9);
  await admin.policy(similar(1));
  await keep(admin, 'How do I cook rice?');
  expect((await admin.ask('could you tell me: how do I cook rice')).cache).toBe('miss');
  expect((await admin.ask('how do I cook rice')).cache).toBe('similar');
});

it('by vectors of the mesh: other words, but never other numbers, names, negations or order', async ({
  replica,
}) => {
  const admin = await started!.tenant(similar(0.95, 'models:/clip/1.0.0'));
  embedded = [];
  const away = Math.acos(0.96);
  embed = (text) =>
    text.includes('headache')
      ? [1, 0]
      : text.includes('far')
        ? [0.5, Math.sqrt(0.75)]
        : [Math.cos(away), Math.sin(away)];
  await keep(admin, 'Take 2 pills of AB-12 for headache');
  const near = await admin.ask('Take 2 pills of AB-12 for a migraine');
  expect([near.cache, near.headers.get('x-landfall-cache-similarity')]).toEqual(['similar', '0.9600']);
  for (const other of [
    'Take 3 pills of AB-12 for a migraine',
    'Take 2.5 pills of AB-12 for a migraine',
    'Take 2 pills of AB-13 for a migraine',
    'Never take 2 pills of AB-12 for a migraine',
    'Take 2 pills of "AB-12" for a migraine',
    'Take 2 pills of AB-12 before a migraine',
    'For headache take 2 pills of AB-12',
    'Take 2 pills of AB-12 far away',
  ])
    expect([other, (await admin.ask(other)).cache]).toEqual([other, 'miss']);
  expect(replica.asked.length).toBe(9);
  expect(embedded.length).toBeGreaterThan(0);
  // Where there are no vectors to be had, calls are answered, and the same request still is the same.
  embed = () => {
    throw new Error('no vectors');
  };
  expect((await admin.ask('Take 2 pills of AB-12 for pain')).cache).toBe('miss');
  expect((await keep(admin, 'Take 2 pills of AB-12 for pain')).cache).toBe('hit');
});

it('what policies put in the place of personal data has to be the same', async () => {
  const admin = await started!.tenant(similar(0.8));
  await admin.call('ContentService/SetContentPolicy', {
    policy: {
      rules: [{ routes: ['*'], requests: [{ types: ['phone'], action: 'PERSONAL_DATA_ACTION_PSEUDONYM' }] }],
    },
  });
  await keep(admin, '请问13812345678是谁的号码?');
  expect((await admin.ask('13812345678是谁的号码')).cache).toBe('similar');
  expect((await admin.ask('13912345678是谁的号码')).cache).toBe('miss');
});

it('questions are compared after a start, and by other gateways, as before it', async () => {
  const admin = await started!.tenant(similar(0.8));
  const first = await keep(admin, '怎么煮米饭?');
  // Counts are told when answers are in the database.
  await admin.call('CacheService/GetCacheStatistics', {});
  const again = await admin.at(await started!.mesh.another()).ask('请问怎么煮米饭');
  expect([again.cache, again.text]).toEqual(['similar', first.text]);
});

test('what must not be taken for one another has no likeness, however near', () => {
  const of = (text: string) => question(text, letterVector(text));
  const pairs = [
    ['2024年的销售额是多少', '2023年的销售额是多少'],
    ['三天吃一次药', '两天吃一次药'],
    ['如何打开蓝牙', '如何关闭蓝牙'],
    ['可以喝酒', '不可以喝酒'],
    ['convert 5 km to miles', 'convert 5 miles to km'],
    ['Is it safe to take aspirin?', 'Is it not safe to take aspirin?'],
    ['call PERSON_7F3A91C2 now', 'call PERSON_7F3A91C3 now'],
    ['what is the max of foo.bar', 'what is the min of foo.bar'],
    ['translate "cat"', 'translate "dog"'],
    ['人咬狗怎么办', '狗咬人怎么办'],
  ] as const;
  for (const [a, b] of pairs) {
    expect([a, b, likeness(of(a), of(b), false)]).toEqual([a, b, 0]);
    expect([a, likeness(of(a), of(a), false)]).toEqual([a, expect.closeTo(1, 5)]);
  }
  // With vectors of meaning all but the last of them are told apart by what stands in them; that one by its order.
  for (const [a, b] of pairs) {
    const [left, right] = [question(a, Float32Array.of(1, 0)), question(b, Float32Array.of(1, 0))];
    expect([a, b, likeness(left, right, true)]).toEqual([a, b, 0]);
  }
});
