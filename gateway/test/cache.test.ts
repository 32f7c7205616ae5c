import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from '@connectrpc/connect';
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from '@connectrpc/connect-node';
import { Database } from '@landfall/common/db/database.ts';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { EntryBox } from '../src/cache/entry-box.ts';
import { readAnswer } from '../src/cache/kept-answer.ts';
import { CachedAnswerSchema } from '../src/db/cache-entities.ts';
import { gatewayEntities, gatewayMigrations } from '../src/db/entities.ts';
import { CacheCaller, CacheMesh, soon } from './cache-mesh.ts';

let started: CacheMesh | undefined;
let other: string;
beforeAll(async () => {
  started = await CacheMesh.start();
  if (started) other = await started.mesh.another();
}, 120_000);
afterAll(() => started?.[Symbol.asyncDispose]());

/** A test with the mesh, where its database is here. */
const it = (name: string, run: (mesh: CacheMesh) => Promise<void>) =>
  test(name, { timeout: 60_000 }, async (t) => (started ? run(started) : t.skip()));

const statistics = async (admin: CacheCaller) =>
  (await admin.call<{ statistics: Record<string, string> }>('CacheService/GetCacheStatistics', {}))
    .statistics;

it('a tenant that has said nothing keeps nothing', async ({ replica, mesh }) => {
  const admin = await started!.tenant({ enabled: false });
  for (let i = 0; i < 2; i++) expect((await admin.ask('x')).cache).toBe(null);
  expect(replica.asked.length).toBe(2);
  expect(mesh.url).not.toBe(other);
});

it('the same request has the same answer, byte for byte, whole and in parts', async ({ replica }) => {
  const admin = await started!.tenant();
  for (const [path, body] of [
    ['/v1/chat/completions', { messages: [{ role: 'user', content: '头痛怎么办?' }] }],
    ['/v1/completions', { prompt: 'Once', max_tokens: 8 }],
    ['/v1/chat/completions', { messages: [{ role: 'user', content: 'two' }], n: 2 }],
  ] as const) {
    const asked = replica.asked.length;
    const whole = { model: 'qa', temperature: 0, ...body };
    const parts = { ...whole, stream: true, stream_options: { include_usage: true } };
    const first = await admin.post(path, parts);
    expect(first.headers.get('x-landfall-cache')).toBe('miss');
    expect(first.headers.get('age')).toBe(null);
    const stream = await first.text();
    const again = await admin.post(path, parts);
    expect(again.headers.get('x-landfall-cache')).toBe('hit');
    expect(again.headers.get('age')).toMatch(/^\d+$/);
    expect(await again.text()).toBe(stream);
    const wholes = [await admin.post(path, whole), await admin.post(path, whole)];
    expect(wholes.map(({ headers }) => headers.get('x-landfall-cache'))).toEqual(['hit', 'hit']);
    const [one, two] = await Promise.all(wholes.map((each) => each.text()));
    expect(two).toBe(one);
    expect(JSON.parse(one!).usage.prompt_tokens_details.cached_tokens).toBe(2);
    expect(stream.match(/"id":"([^"]+)"/)![1]).toBe(JSON.parse(one!).id);
    expect(replica.asked.length).toBe(asked + 1);
  }
  expect(await statistics(admin)).toMatchObject({ hits: '9', misses: '3', stored: '3', entries: '3' });
  const { entries } = await admin.call<{ entries: { route: string; cache?: string }[] }>(
    'AdminService/SearchAudit',
    { pageSize: 30 },
  );
  const outcomes = entries.filter(({ route }) => route.startsWith('POST /v1/')).map(({ cache }) => cache);
  expect(outcomes.filter((each) => each === 'miss').length).toBe(3);
  expect(outcomes.filter((each) => each === 'hit').length).toBe(9);
});

it('Connect, gRPC and gRPC-Web are given what OpenAI’s route was, and say so', async ({ replica }) => {
  const admin = await started!.tenant();
  const { text } = await admin.ask('hi', { max_tokens: 9 });
  const said = JSON.parse(text).choices[0].message.content;
  const [sent] = replica.asked;
  const interceptors = [
    (next: (request: never) => Promise<never>) => (request: { header: Headers }) => {
      request.header.set('authorization', `Bearer ${admin.key}`);
      return next(request as never);
    },
  ] as never;
  const options = { baseUrl: admin.url, interceptors };
  for (const transport of [
    createConnectTransport({ ...options, httpVersion: '1.1' }),
    createConnectTransport({ ...options, httpVersion: '2', useBinaryFormat: true }),
    createGrpcTransport(options),
    createGrpcWebTransport({ ...options, httpVersion: '1.1' }),
  ]) {
    const client = createClient(TextInferenceService, transport);
    let delta = '';
    const headers: (string | null)[] = [];
    const { messages, sampling } = sent!;
    const request = { model: 'qa', messages, sampling: { ...sampling! }, priority: 3 };
    const onHeader = (got: Headers) => void headers.push(got.get('x-landfall-cache'), got.get('age'));
    for await (const part of client.generate(request, { onHeader })) {
      delta += part.delta;
      if (part.usage) expect(part.usage).toMatchObject({ inputTokens: 7, durationMs: 0 });
      expect(part.load).toBe(undefined);
    }
    expect([delta, headers[0]]).toEqual([said, 'hit']);
    const bypassed: (string | null)[] = [];
    const how = {
      headers: { 'cache-control': 'no-store' },
      onHeader: (got: Headers) => void bypassed.push(got.get('x-landfall-cache')),
    };
    for await (const _ of client.generate(request, how));
    expect(bypassed).toEqual(['bypass']);
  }
  expect(replica.asked.length).toBe(5);
});

it('only answers that are not left to chance, but by choice', async ({ replica }) => {
  const admin = await started!.tenant();
  const chance = { temperature: 0.7 };
  expect((await admin.ask('a', chance)).cache).toBe('bypass');
  expect((await admin.ask('a', { temperature: undefined })).cache).toBe('bypass');
  const use = { 'x-landfall-cache': 'use' };
  expect((await admin.ask('a', chance, use)).cache).toBe('miss');
  expect((await admin.ask('a', chance, use)).cache).toBe('hit');
  expect((await admin.ask('a', chance)).cache).toBe('bypass');
  const seeded = { ...chance, seed: 5 };
  expect((await admin.ask('a', seeded)).cache).toBe('miss');
  expect((await admin.ask('a', seeded)).cache).toBe('hit');
  expect(replica.asked.length).toBe(5);
  await admin.policy({ enabled: true, sampled: true });
  expect((await admin.ask('a', chance)).cache).toBe('miss');
  expect((await admin.ask('a', chance)).cache).toBe('hit');
});

it('whatever decides an answer makes another request', async ({ replica }) => {
  const admin = await started!.tenant();
  const user = { role: 'user', content: 'a' };
  const schema = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' } } };
  const others = [
    {},
    ...[{ max_tokens: 3 }, { max_tokens: 4 }, { top_p: 0.5 }, { seed: 1 }, { seed: 2 }, { stop: ['x'] }],
    ...[{ top_k: 3 }, { min_p: 0.1 }, { repetition_penalty: 1.1 }, { frequency_penalty: 0.5 }],
    ...[
      { presence_penalty: 0.5 },
      { logit_bias: { 3: 1 } },
      { n: 2 },
      { logprobs: true },
      { ignore_eos: true },
    ],
    ...[{ response_format: { type: 'json_object' } }, { response_format: schema }, { guided_regex: 'a+' }],
    { messages: [{ role: 'system', content: 's' }, user] },
    { messages: [user, { role: 'assistant', content: 'b' }, user] },
    { messages: [{ role: 'user', content: 'a ' }] },
    { messages: [{ role: 'system', content: 'a' }] },
    { model: 'qa-2' },
    { model: 'models:/qa/1.0.0' },
  ];
  for (const more of others) expect([more, (await admin.ask('a', more)).cache]).toEqual([more, 'miss']);
  expect(replica.asked.length).toBe(others.length);
  for (const more of others) expect([more, (await admin.ask('a', more)).cache]).toEqual([more, 'hit']);
  for (const more of [{ priority: 2 }, { prompt_lookup: 3 }, { user: 'u' }])
    expect((await admin.ask('a', more)).cache).toBe('hit');
});

it('tenants are apart', async ({ replica }) => {
  const [one, two] = [await started!.tenant(), await started!.tenant()];
  const first = await one.ask('the same');
  const theirs = await two.ask('the same');
  expect([first.cache, theirs.cache, replica.asked.length]).toEqual(['miss', 'miss', 2]);
  expect(theirs.text).not.toBe(first.text);
  expect(await statistics(two)).toMatchObject({ misses: '1', entries: '1' });
});

it('a caller passes by: with no-cache, no-store and max-age, by the policy, by their key', async ({
  replica,
}) => {
  const admin = await started!.tenant();
  const control = (value: string) => ({ 'cache-control': value });
  expect((await admin.ask('a', {}, control('no-store'))).cache).toBe('bypass');
  expect((await admin.ask('a')).cache).toBe('miss');
  const fresh = await admin.ask('a', {}, control('No-Cache, foo="bar"'));
  expect([fresh.cache, replica.asked.length]).toEqual(['bypass', 3]);
  // What passed by is the newest, and is given from here on.
  const next = await soon(
    () => admin.ask('a'),
    ({ text }) => text === fresh.text,
  );
  expect([next.cache, next.text]).toEqual(['hit', fresh.text]);
  await vi.waitFor(async () => expect(Number((await admin.ask('a')).headers.get('age'))).toBeGreaterThan(0), {
    timeout: 10_000,
  });
  expect((await admin.ask('a', {}, control('max-age=3600'))).cache).toBe('hit');
  expect((await admin.ask('a', {}, control('max-age=0'))).cache).toBe('miss');
  const { keys } = await admin.call<{ keys: { id: string }[] }>('AdminService/ListKeys', {});
  const subject = `key:${keys[0]!.id}`;
  await admin.policy({ enabled: true, bypassSubjects: [subject] });
  for (let i = 0; i < 2; i++) expect((await admin.ask('a')).cache).toBe('bypass');
  await admin.policy({ enabled: true, bypassModels: ['qa'] });
  for (let i = 0; i < 2; i++) expect((await admin.ask('a')).cache).toBe('bypass');
  expect((await admin.ask('a', { model: 'qa-2' })).cache).toBe('miss');
});

const masking = (action: string, more: object = {}) => ({
  policy: {
    rules: [
      {
        routes: ['*'],
        requests: [{ types: ['phone', 'person'], action }],
        answers: [{ types: ['email'], action: 'PERSONAL_DATA_ACTION_MASK' }],
        ...more,
      },
    ],
  },
});

it('what is kept has pseudonyms and masks; each caller is given back their own data', async ({
  replica,
  mesh,
}) => {
  const admin = await started!.tenant();
  await admin.call('ContentService/SetContentPolicy', masking('PERSONAL_DATA_ACTION_PSEUDONYM'));
  const ask = async (phone: string) => {
    const answer = await admin.ask(`给${phone}写一句话`);
    return { ...answer, said: JSON.parse(answer.text).choices[0].message.content as string };
  };
  // The model repeats what it was shown, and makes an address up.
  replica.says = ({ messages }) => `${messages[0]!.content} zs@example.cn`;
  const first = await ask('138 1234 5678');
  expect([first.cache, first.said]).toEqual(['miss', '给138 1234 5678写一句话 [EMAIL]']);
  // The same number, written in another way.
  const again = await ask('13812345678');
  expect([again.cache, again.said]).toEqual(['hit', '给13812345678写一句话 [EMAIL]']);
  expect((await ask('13912345678')).cache).toBe('miss');
  expect(replica.asked.length).toBe(2);

  await statistics(admin);
  const { url, folder } = mesh.database;
  const tables = { entities: gatewayEntities, migrations: gatewayMigrations };
  const file = join(folder, 'gateway', 'gateway.sqlite');
  await using database = await Database.open({ service: 'gateway', url, file, ...tables });
  const rows = await database.read((em) => em.find(CachedAnswerSchema, {}));
  const box = new EntryBox(readFileSync(join(folder, 'mesh.key')));
  let kept = '';
  for (const { tenant, key, body } of rows) {
    expect(Buffer.from(body, 'base64').toString('latin1')).not.toContain('138');
    for (const { delta } of await readAnswer(box.open(body, `${tenant}\n${key}\nbody`))) kept += delta;
    // Nobody passes one row off as another.
    expect(() => box.open(body, `${tenant}x\n${key}\nbody`)).toThrow();
  }
  expect(kept).toContain('[EMAIL]');
  expect(kept).toMatch(/PHONE_[0-9A-F]{8}/);
  expect(kept).not.toMatch(/138|139|example/);
});

it('answers with personal data that no policy masks, refused ones and failures are not kept', async ({
  replica,
}) => {
  const admin = await started!.tenant();
  const twice = async (question: string, more = {}) => {
    const got = [await admin.ask(question, more), await admin.ask(question, more)];
    return got.map(({ cache, status }) => `${cache} ${status}`);
  };
  replica.says = '他的电话是13812345678';
  expect(await twice('phone')).toEqual(['miss 200', 'miss 200']);
  expect(await statistics(admin)).toMatchObject({ personal: '2' });
  replica.says = 'half an ans';
  replica.finish = FinishReason.CANCELLED;
  expect(await twice('half')).toEqual(['miss 200', 'miss 200']);
  replica.finish = FinishReason.LENGTH;
  expect(await twice('long')).toEqual(['miss 200', 'hit 200']);
  replica.model = 'models:/elsewhere/1.0.0';
  expect(await twice('elsewhere')).toEqual(['miss 200', 'miss 200']);
  replica.model = '';
  replica.before = async () => {
    throw new Error('broken');
  };
  expect(await twice('error')).toEqual(['miss 500', 'miss 500']);
  replica.before = async () => {};
  const filters = {
    answerFilters: [{ name: 'insults', words: ['idiot'], action: 'FILTER_ACTION_BLOCK' }],
    requestFilters: [{ name: 'odd', words: ['dynamite'], action: 'FILTER_ACTION_FLAG' }],
  };
  await admin.call('ContentService/SetContentPolicy', masking('PERSONAL_DATA_ACTION_MASK', filters));
  replica.says = 'you idiot';
  const asked = replica.asked.length;
  expect(await twice('blocked')).toEqual(['miss 400', 'miss 400']);
  expect(replica.asked.length).toBe(asked + 2);
  // What a person has let pass was let pass for its caller.
  replica.says = 'fine';
  expect(await twice('dynamite')).toEqual(['null 400', 'null 400']);
  const { reviews } = await admin.call<{ reviews: [{ id: string }] }>(
    'ContentService/ListContentReviews',
    {},
  );
  const [{ id }] = reviews;
  const { secret } = await admin.call<{ secret: string }>('AdminService/CreateKey', {
    name: 'r',
    role: 'ROLE_EDITOR',
  });
  const reviewer = new CacheCaller(admin.url, secret);
  await reviewer.call('ContentService/ClaimContentReview', { id });
  await reviewer.call('ContentService/DecideContentReview', { id, approve: true, reason: 'for a mine' });
  expect(await twice('dynamite')).toEqual(['bypass 200', 'bypass 200']);
});

it('those who ask at once are answered once, and none of them takes the answer from the others', async ({
  replica,
}) => {
  const admin = await started!.tenant();
  const open = Promise.withResolvers<void>();
  replica.before = () => open.promise;
  const leaving = new AbortController();
  const left = admin.ask('together', {}, {}, leaving.signal).catch(() => 'left');
  await vi.waitUntil(() => replica.asked.length === 1, { timeout: 20_000 });
  const others = [1, 2, 3, 4].map((i) => admin.ask('together', { stream: i % 2 === 0 }));
  const apart = admin.ask('apart');
  await vi.waitUntil(async () => (await statistics(admin)).joined === '4', { timeout: 20_000 });
  leaving.abort();
  expect(await left).toBe('left');
  open.resolve();
  const all = await Promise.all(others);
  expect(all.map(({ cache }) => cache)).toEqual(['miss', 'miss', 'miss', 'miss']);
  expect(new Set(all.map(({ text }) => text)).size).toBe(2);
  await apart;
  expect(replica.asked.length).toBe(2);
  expect((await admin.ask('together')).cache).toBe('hit');
});

it('when the last one leaves, the replica’s work stops', async ({ replica }) => {
  const admin = await started!.tenant();
  replica.before = (signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
  const gone = [new AbortController(), new AbortController()];
  const calls = gone.map(({ signal }) => admin.ask('nobody', {}, {}, signal).catch(() => {}));
  await vi.waitUntil(async () => (await statistics(admin)).joined === '1', { timeout: 20_000 });
  await vi.waitUntil(() => replica.signals.length === 1, { timeout: 20_000 });
  gone[0]!.abort();
  await calls[0];
  expect(replica.signals[0]!.aborted).toBe(false);
  gone[1]!.abort();
  await vi.waitUntil(() => replica.signals[0]!.aborted, { timeout: 20_000 });
  replica.before = async () => {};
  expect((await admin.ask('nobody')).cache).toBe('miss');
});

it('whoever has lost the right to a deployment or its model has lost the answers', async ({ replica }) => {
  const admin = await started!.tenant();
  const { secret } = await admin.call<{ secret: string }>('AdminService/CreateKey', {
    name: 'i',
    role: 'ROLE_INVOKER',
  });
  const invoker = new CacheCaller(admin.url, secret);
  await admin.ask('a');
  expect((await invoker.ask('a')).cache).toBe('hit');
  const restrict = (resource: string, restricted: boolean) =>
    admin.call('AccessService/RestrictResource', { resource, restricted });
  for (const resource of ['deployments/qa', 'models/qa']) {
    await restrict(resource, true);
    const refused = await soon(
      () => invoker.ask('a'),
      ({ status }) => status === 404,
    );
    expect([resource, refused.status, refused.cache]).toEqual([
      resource,
      404,
      resource === 'models/qa' ? 'bypass' : null,
    ]);
    expect(refused.text).not.toContain('多喝水');
    expect((await admin.ask('a')).cache).toBe('hit');
    await restrict(resource, false);
    await soon(
      () => invoker.ask('a'),
      ({ status }) => status === 200,
    );
  }
  expect(replica.asked.length).toBe(1);
});

it('an answer that is given again is a request of a quota, and costs no tokens', async ({ replica }) => {
  const admin = await started!.tenant();
  await admin.call('QuotaService/SetQuota', {
    quota: { requestsPerMinute: '100000', tokensPerMonth: '1000000' },
  });
  const used = async () => {
    const { items } = await admin.call<{ items: { usage: { tokensThisMonth?: string } }[] }>(
      'QuotaService/ListQuotas',
      {},
    );
    return Number(items[0]!.usage.tokensThisMonth ?? 0);
  };
  const { text } = await admin.ask('a');
  const { total_tokens: tokens } = JSON.parse(text).usage;
  expect(await used()).toBe(tokens);
  expect((await admin.ask('a')).cache).toBe('hit');
  expect(await used()).toBe(tokens);
  // One that is used up lets nothing pass, whoever would answer.
  await admin.call('QuotaService/SetQuota', { quota: { tokensPerMonth: '1' } });
  const refused = await admin.ask('a');
  expect([refused.status, refused.cache, replica.asked.length]).toEqual([429, null, 1]);
});

it('what was not asked for longest makes room; what is too old goes', async ({ replica }) => {
  const admin = await started!.tenant({ enabled: true, maxEntries: 3 });
  for (const question of ['1', '2', '3', '4', '5']) {
    await admin.ask(question);
    await statistics(admin);
  }
  expect(Number((await statistics(admin)).entries)).toBe(3);
  expect((await admin.ask('5')).cache).toBe('hit');
  expect((await admin.ask('1')).cache).toBe('miss');
  await admin.policy({ enabled: true, maxBytes: 4000 });
  for (let i = 0; i < 8; i++) {
    await admin.ask(`b${i}`);
    await statistics(admin);
  }
  const { bytes, entries } = await statistics(admin);
  expect(Number(bytes)).toBeLessThanOrEqual(4000);
  expect(Number(entries)).toBeGreaterThan(0);
  await admin.policy({ enabled: true, ttl: '1s' });
  await admin.ask('old');
  const asked = replica.asked.length;
  await soon(
    () => admin.ask('old'),
    () => replica.asked.length > asked,
  );
  expect(replica.asked.length).toBeGreaterThan(asked);
});

it('gateways of one database share answers, counts, purges and policies', async ({ replica }) => {
  const admin = await started!.tenant();
  const there = admin.at(other);
  const first = await admin.ask('shared');
  await admin.ask('shared', { model: 'qa-2' });
  // Counts are told when answers are in the database; what has not been asked for here yet is read when it is.
  await statistics(admin);
  const shared = await there.ask('shared');
  expect([shared.cache, shared.text]).toEqual(['hit', first.text]);
  const hits = async (caller: CacheCaller) => Number((await statistics(caller)).hits);
  await soon(
    () => hits(admin),
    (count) => count > 0,
  );
  expect(await hits(admin)).toBeGreaterThan(0);

  const asked = replica.asked.length;
  expect(await admin.call('CacheService/PurgeCache', { model: 'qa' })).toEqual({ dropped: '1' });
  expect((await admin.ask('shared', { model: 'qa-2' })).cache).toBe('hit');
  // The other gateway hears of it; whatever it made itself meanwhile is its own.
  await soon(
    () => there.ask('shared'),
    () => replica.asked.length > asked,
  );
  expect(replica.asked.length).toBe(asked + 1);
  await admin.call('ContentService/SetContentPolicy', { policy: {} });
  await soon(
    () => there.ask('shared'),
    () => replica.asked.length > asked + 1,
  );
  expect(replica.asked.length).toBe(asked + 2);
  await admin.policy({ enabled: false });
  expect(
    (
      await soon(
        () => there.ask('shared'),
        ({ cache }) => cache === null,
      )
    ).cache,
  ).toBe(null);
  expect(Number((await statistics(admin)).entries ?? 0)).toBe(0);
});

it('policies that make no sense are refused by field', async () => {
  const admin = await started!.tenant();
  for (const [policy, field] of [
    [{ ttl: '0.5s' }, 'policy.ttl'],
    [{ ttl: '2592001s' }, 'policy.ttl'],
    [{ maxEntries: -1 }, 'policy.max_entries'],
    [{ maxBytes: '1073741825' }, 'policy.max_bytes'],
    [{ bypassSubjects: ['alice'] }, 'policy.bypass_subjects[0]'],
    [{ similar: { threshold: 0.5 } }, 'policy.similar.threshold'],
    [{ similar: { threshold: 'NaN' } }, 'policy.similar.threshold'],
    [{ similar: { threshold: 0.9, embeddingModel: '../x' } }, 'policy.similar.embedding_model'],
  ] as const) {
    const response = await admin.post('/landfall.gateway.v1.CacheService/SetCachePolicy', { policy });
    const reply = await response.text();
    expect([response.status, reply]).toEqual([400, expect.stringContaining(field)]);
  }
  await expect(
    admin.policy({ similar: { threshold: 0.9, embeddingModel: 'models:/clip/1' } }),
  ).rejects.toThrow('failed_precondition');
});
