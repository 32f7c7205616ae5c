import { join } from 'node:path';
import { create, fromJsonString } from '@bufbuild/protobuf';
import { OutboxSchema } from '@landfall/common/db/chassis-tables.ts';
import { Database } from '@landfall/common/db/database.ts';
import { type TestDatabase, testDatabase } from '@landfall/common/db/test-database.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { QuotaReachedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import {
  GenerateRequestSchema,
  GenerateResponseSchema,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { gatewayEntities, gatewayMigrations } from '../src/db/entities.ts';
import { PriceSchema, QuotaSchema } from '../src/db/quota-entities.ts';
import type { Flow, Lease, Meter } from '../src/edge/governance.ts';
import { QuotaBook } from '../src/quota/quota-book.ts';
import { QuotaMeter } from '../src/quota/quota-meter.ts';
import { GatewayMesh } from './harness.ts';

const logger = createLogger('test', 'silent');
const unbounded: Meter = { open: () => ({ charge() {}, used() {}, headers: {}, close() {} }) };
const bounds = {
  requestsPerMinute: 0,
  tokensPerMinute: 0,
  concurrentRequests: 0,
  tokensPerMonth: 0,
  microsPerMonth: 0,
};

describe('quotas over several gateways', () => {
  let place: TestDatabase | undefined;
  let database: Database;
  /** 12:00:30 of a day in the middle of a month. */
  let now = Date.UTC(2026, 10, 15, 12, 0, 30);
  let tenant = '';
  let books: QuotaBook[] = [];

  beforeAll(async () => {
    place = await testDatabase();
    if (!place) return;
    const { url, folder } = place;
    const tables = { entities: gatewayEntities, migrations: gatewayMigrations };
    database = await Database.open({
      service: 'gateway',
      url,
      file: join(folder, 'gateway.sqlite'),
      ...tables,
    });
  });
  afterAll(async () => {
    await database?.[Symbol.asyncDispose]();
    await place?.[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    tenant = `t${Math.random()}`;
    books = [];
  });

  const quota = (parts: object) =>
    database.transaction((em) =>
      em.insert(QuotaSchema, {
        ...bounds,
        tenant,
        subject: '',
        model: '',
        id: crypto.randomUUID(),
        revision: 1,
        ...parts,
      }),
    );
  const gateway = () => {
    const book = new QuotaBook(database, logger, () => now);
    books.push(book);
    return new QuotaMeter(book, unbounded);
  };
  const synced = () =>
    Promise.all(books.map((book) => book.sync())).then(() => Promise.all(books.map((book) => book.sync())));
  const flow = (subject = 'key:1') =>
    ({
      caller: { subject, tenant, role: Role.INVOKER },
      call: { method: TextInferenceService.method.generate },
    }) as unknown as Flow;
  const usage = (inputTokens: number, outputTokens: number, cachedTokens = 0) =>
    create(GenerateResponseSchema, { usage: { inputTokens, outputTokens, cachedTokens } });
  async function call(meter: QuotaMeter, tokens: number, model = 'qa', subject = 'key:1'): Promise<void> {
    const lease = await meter.open(flow(subject));
    try {
      await lease.charge(create(GenerateRequestSchema, { model }));
      lease.used(usage(tokens, 0));
    } finally {
      lease.close();
    }
  }
  const refused = { code: 8, reason: 'QUOTA' };

  test('requests a minute, by all of them, over a restart, until the minute ends', async (t) => {
    if (!place) return t.skip();
    await quota({ requestsPerMinute: 10 });
    const [one, other] = [gateway(), gateway()];
    for (let i = 0; i < 6; i++) await call(one, 0);
    await synced();
    for (let i = 0; i < 4; i++) await call(other, 0);
    await expect(call(other, 0)).rejects.toMatchObject({ ...refused, retryAfterMs: 30_000 });
    await synced();
    await expect(call(one, 0)).rejects.toMatchObject(refused);
    // One that has just started knows as much.
    await expect(call(gateway(), 0)).rejects.toMatchObject(refused);
    now += 30_000;
    await call(one, 0);
    now -= 30_000;
  });

  test('without word from the others, at most each one’s own share too much', async (t) => {
    if (!place) return t.skip();
    await quota({ requestsPerMinute: 10 });
    const all = [gateway(), gateway(), gateway()];
    let passed = 0;
    for (const meter of all)
      for (let i = 0; i < 20; i++)
        await call(meter, 0).then(
          () => passed++,
          () => {},
        );
    expect(passed).toBe(30);
    await synced();
    for (const meter of all) await expect(call(meter, 0)).rejects.toMatchObject(refused);
  });

  test('tokens a minute and a month, money by price, of a model and of a caller', async (t) => {
    if (!place) return t.skip();
    await quota({ model: 'big', tokensPerMinute: 1000 });
    await quota({ subject: 'key:2', tokensPerMonth: 500 });
    await quota({ subject: 'key:3', microsPerMonth: 2_000_000 });
    const price = { inputMicros: 1_000_000_000, cachedInputMicros: 100_000_000, outputMicros: 4_000_000_000 };
    await database.transaction((em) => em.insert(PriceSchema, { tenant, model: 'big', ...price }));
    const meter = gateway();
    await call(meter, 1000, 'big');
    await expect(call(meter, 1, 'big')).rejects.toMatchObject(refused);
    await call(meter, 1, 'small');
    now += 60_000;
    await call(meter, 500, 'small', 'key:2');
    now += 60_000;
    await expect(call(meter, 1, 'small', 'key:2')).rejects.toMatchObject({
      ...refused,
      retryAfterMs: expect.any(Number),
    });
    // 500 fresh, 500 cached and 400 new tokens: 0.5 + 0.05 + 1.6 of money.
    const lease = await meter.open(flow('key:3'));
    await lease.charge(create(GenerateRequestSchema, { model: 'big' }));
    lease.used(usage(1000, 400, 500));
    lease.close();
    const counter = (await books[0]!.of(tenant)).counters.find(
      ({ quota: { subject } }) => subject === 'key:3',
    )!;
    expect(counter.month.sum('micros')).toBe(2_150_000);
    now += 60_000;
    await expect(meter.open(flow('key:3'))).rejects.toMatchObject(refused);
  });

  test('what is asked for counts until it is known what was used', async (t) => {
    if (!place) return t.skip();
    await quota({ tokensPerMinute: 1000 });
    const meter = gateway();
    const ask = create(GenerateRequestSchema, { model: 'qa', sampling: { maxTokens: 600 } });
    const first = await meter.open(flow());
    await first.charge(ask);
    const second = await meter.open(flow());
    expect(() => second.charge(ask)).toThrow(/1000 tokens a minute/);
    second.close();
    first.used(usage(10, 20));
    first.close();
    const third = await meter.open(flow());
    await third.charge(ask);
    expect(third.headers).toMatchObject({
      'x-ratelimit-limit-tokens': '1000',
      'x-ratelimit-remaining-tokens': '970',
    });
    third.close();
  });

  test('requests in flight, and those of a gateway that is gone do not count', async (t) => {
    if (!place) return t.skip();
    await quota({ concurrentRequests: 2 });
    const [one, other] = [gateway(), gateway()];
    const held: Lease[] = [await one.open(flow()), await one.open(flow())];
    await synced();
    await expect(other.open(flow())).rejects.toMatchObject(refused);
    now += 11_000;
    (await gateway().open(flow())).close();
    now -= 11_000;
    held[0]!.close();
    await synced();
    (await other.open(flow())).close();
    held[1]!.close();
  });

  test('the month’s 80 and 100 percent are told once', async (t) => {
    if (!place) return t.skip();
    await quota({ tokensPerMonth: 100 });
    const [one, other] = [gateway(), gateway()];
    await call(one, 79);
    await synced();
    const told = async () => {
      const rows = await database.read((em) => em.find(OutboxSchema, {}, { orderBy: { id: 'asc' } }));
      const events = rows.map(({ payload }) =>
        fromJsonString(QuotaReachedSchema, payload, { ignoreUnknownFields: true }),
      );
      return events
        .filter((event) => event.tenant === tenant)
        .map(({ what, percent, used }) => [what, percent, Number(used)]);
    };
    expect(await told()).toEqual([]);
    await call(other, 6);
    await synced();
    await call(one, 20);
    await synced();
    await synced();
    expect(await told()).toEqual([
      ['tokens', 80, 85],
      ['tokens', 100, 105],
    ]);
  });

  test('gateways that see at once that a quota is used tell it once, and none of them fails', async (t) => {
    if (!place) return t.skip();
    await quota({ tokensPerMonth: 1000 });
    await call(gateway(), 200);
    await synced();
    await database.read((em) =>
      em.nativeUpdate(QuotaSchema, { tenant }, { tokensPerMonth: 100, revision: 2 }),
    );
    // A gateway that has just started sees it with its first call.
    const seen = await Promise.all(
      Array.from({ length: 6 }, () =>
        gateway()
          .open(flow())
          .catch((cause) => cause),
      ),
    );
    for (const each of seen) expect(each).toMatchObject(refused);
    const events = await database.read((em) => em.count(OutboxSchema, { payload: { $like: `%${tenant}%` } }));
    expect(events).toBe(2);
  });

  test('a change while quotas are being read is felt by the next call', async (t) => {
    if (!place) return t.skip();
    const known = Promise.withResolvers<void>();
    const slowAtFirst: Database = Object.create(database, {
      read: {
        value: async (work: Parameters<Database['read']>[0]) => {
          const first = !begun;
          begun = true;
          const found = await database.read(work);
          if (first) await known.promise;
          return found;
        },
      },
    });
    let begun = false;
    const book = new QuotaBook(slowAtFirst, logger);
    const early = book.of(tenant);
    await quota({ requestsPerMinute: 1 });
    book.forget(tenant);
    await book.of(tenant);
    known.resolve();
    await early;
    expect((await book.of(tenant)).counters).toHaveLength(1);
  });
});

describe('at the gateway', () => {
  let mesh: GatewayMesh | undefined;
  beforeAll(async () => {
    mesh = await GatewayMesh.start({
      async *generate() {
        yield { delta: '好' };
        yield { finishReason: FinishReason.STOP, usage: { inputTokens: 40, outputTokens: 60 } };
      },
    });
  });
  afterAll(() => mesh?.[Symbol.asyncDispose]());

  test('a quota refuses with 429 and its headers tell what is left', async (t) => {
    if (!mesh) return t.skip();
    const { url, apiKey } = mesh;
    const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' };
    const post = (path: string, body: object) =>
      fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    const service = '/landfall.gateway.v1.QuotaService';
    const price = { model: 'qa', inputMicros: '2000000', outputMicros: '8000000' };
    expect((await post(`${service}/SetPrice`, { price })).status).toBe(200);
    expect(
      (await post(`${service}/SetQuota`, { quota: { model: 'qa', tokensPerMonth: '150' } })).status,
    ).toBe(200);
    const chat = () =>
      post('/v1/chat/completions', { model: 'qa', messages: [{ role: 'user', content: '问' }] });
    const first = await chat();
    expect(first.status).toBe(200);
    expect(Number(first.headers.get('x-ratelimit-remaining-requests'))).toBeGreaterThan(0);
    await first.text();
    await (await chat()).text();
    const refused = await chat();
    expect([refused.status, await refused.json()]).toMatchObject([
      429,
      { error: { code: 'rate_limit_exceeded' } },
    ]);
    expect(await (await post(`${service}/ListQuotas`, {})).json()).toMatchObject({
      items: [
        {
          quota: { model: 'qa', tokensPerMonth: '150' },
          usage: { tokensThisMonth: '200', microsThisMonth: '1120' },
        },
      ],
    });
    expect((await post(`${service}/SetQuota`, { quota: { model: 'qa' } })).status).toBe(200);
    expect((await chat()).status).toBe(200);
  });
});
