import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Broker } from '@landfall/common/events/broker.ts';
import { EventConsumer } from '@landfall/common/events/consumer.ts';
import { type NatsServer, startNatsServer } from '@landfall/common/events/nats-server.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import {
  type CacheInvalidated,
  CacheInvalidatedSchema,
} from '@landfall/proto/landfall/event/v1/events_pb.js';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { type CacheCaller, CacheMesh, soon } from './cache-mesh.ts';
import { MODEL } from './harness.ts';

const logger = createLogger('test', 'silent');
const PATIENCE = { timeout: 60_000, interval: 100 };
const LONG = { timeout: 180_000 };
let folder: string;
let nats: NatsServer;
let broker: Broker;
let started: CacheMesh | undefined;
let other: string;
let consumer: EventConsumer<typeof CacheInvalidatedSchema>;
const told: CacheInvalidated[] = [];
/** Tells those who follow a target that another model answers. */
let move: ((model: string) => void)[] = [];

async function* models(signal: AbortSignal) {
  const next = () => new Promise<string>((resolve) => move.push(resolve));
  yield MODEL;
  while (!signal.aborted) yield await next();
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-cache-'));
  nats = await startNatsServer({ folder });
  broker = await Broker.connect(nats.url, 'test', logger);
  consumer = new EventConsumer({
    ...{ broker, logger, subject: 'landfall.gateway.cache.invalidated.v1', schema: CacheInvalidatedSchema },
    handle: async (event) => void told.push(event),
  });
  await consumer.start();
  started = await CacheMesh.start({ models, env: { LANDFALL_NATS_URL: nats.url } });
  if (started) other = await started.mesh.another();
}, 120_000);
afterAll(async () => {
  await started?.[Symbol.asyncDispose]();
  await consumer?.[Symbol.asyncDispose]();
  await broker?.[Symbol.asyncDispose]();
  await nats?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function happen(subject: string, payload: object): Promise<void> {
  const id = crypto.randomUUID();
  const headers = natsHeaders();
  headers.set('ce-id', id);
  await broker.js.publish(subject, JSON.stringify(payload), { headers, msgID: id });
}

/** An answer that both gateways give out. */
async function kept(admin: CacheCaller, model: string): Promise<void> {
  for (const caller of [admin, admin.at(other)]) {
    const { cache } = await soon(
      () => caller.ask('q', { model }),
      ({ cache }) => cache === 'hit',
    );
    expect([model, caller.url, cache]).toEqual([model, caller.url, 'hit']);
  }
}

/** What was told of a tenant's answers, without that of its policy, once it is so many. */
async function toldOf(tenant: string, count: number): Promise<CacheInvalidated[]> {
  const own = () => told.filter((each) => each.tenant === tenant && each.cause !== 'cache_policy.changed');
  await vi.waitUntil(() => own().length >= count, PATIENCE);
  return own();
}

/** Until a gateway that has not been told by its own caller has the answer made anew. */
async function gone(admin: CacheCaller, model: string): Promise<void> {
  const { asked } = started!.replica;
  const before = asked.length;
  await soon(
    () => admin.at(other).ask('q', { model }),
    () => asked.length > before,
  );
  expect(asked.length).toBeGreaterThan(before);
}

test('an alias that moves takes its answers with it, in all gateways, and no others', LONG, async (t) => {
  if (!started) return t.skip();
  const admin = await started.tenant();
  const { newest: tenant } = started;
  const alias = 'models:/qa@production';
  await kept(admin, alias);
  await kept(admin, 'qa');
  const moved = { tenant, name: 'qa', alias: 'production', toVersion: '1.1.0' };
  await happen('landfall.registry.alias.moved.v1', moved);
  expect(await toldOf(tenant, 1)).toMatchObject([{ cause: 'alias.moved', model: alias, entries: 1n }]);
  await gone(admin, alias);
  expect((await admin.ask('q', { model: 'qa' })).cache).toBe('hit');
  // Nothing of what a version has answered is given out when it is deprecated.
  await happen('landfall.registry.version.deprecated.v1', { tenant, name: 'qa', ref: MODEL });
  const all = await toldOf(tenant, 2);
  expect(all[1]).toMatchObject({ cause: 'version.deprecated', model: MODEL });
  await gone(admin, 'qa');
});

test(
  'another set-up of a deployment drops its answers; replicas that come and go do not',
  LONG,
  async (t) => {
    if (!started) return t.skip();
    const admin = await started.tenant();
    const { newest: tenant } = started;
    await kept(admin, 'qa');
    const happens = (state: string, revision: number, generation: number) =>
      happen('landfall.balancer.deployment.changed.v1', {
        ...{ tenant, name: 'qa', model: MODEL, replicas: 1, readyReplicas: 1, state },
        ...{ revision: String(revision), generation: String(generation) },
      });
    // Gateways share these events, so that later ones may be taken first.
    await happens('ready', 5, 2);
    await toldOf(tenant, 1);
    await happens('degraded', 6, 2);
    // Older than what is known.
    await happens('stopped', 4, 1);
    await happens('progressing', 7, 3);
    await toldOf(tenant, 2);
    await happens('degraded', 8, 3);
    await happens('ready', 9, 3);
    await toldOf(tenant, 3);
    await happens('ready', 10, 3);
    await happens('stopped', 11, 3);
    const causes = (await toldOf(tenant, 4)).map(({ cause, model }) => `${cause} ${model}`);
    expect(causes).toEqual(Array(4).fill('deployment.changed qa'));
    await gone(admin, 'qa');
  },
);

test('an answer of another model is none of this one’s, without any event', {
  timeout: 60_000,
}, async (t) => {
  if (!started) return t.skip();
  const { replica } = started;
  const admin = await started.tenant();
  for (const caller of [admin, admin.at(other)])
    await soon(
      () => caller.ask('m'),
      ({ cache }) => cache === 'hit',
    );
  const asked = replica.asked.length;
  replica.model = 'models:/qa/2.0.0';
  const following = move;
  move = [];
  for (const tell of following) tell('models:/qa/2.0.0');
  for (const caller of [admin, admin.at(other)]) {
    await soon(
      () => caller.ask('m'),
      () => replica.asked.length > asked,
    );
  }
  expect(replica.asked.at(-1)!.model).toBe('models:/qa/2.0.0');
  expect(replica.asked.length).toBeGreaterThan(asked);
});

test('policies and people drop answers, and it is told who did', LONG, async (t) => {
  if (!started) return t.skip();
  const admin = await started.tenant();
  await admin.ask('p');
  await admin.call('ContentService/SetContentPolicy', { policy: {} });
  expect(await toldOf(started.newest, 1)).toMatchObject([{ cause: 'content_policy.changed' }]);
  await admin.ask('p');
  await admin.call('CacheService/PurgeCache', {});
  const [, purged] = await toldOf(started.newest, 2);
  expect(purged).toMatchObject({ cause: 'purged', model: '', entries: 1n });
  const { entries } = await admin.call('AdminService/SearchAudit', { resource: 'cached-answers/*' });
  expect(entries).toMatchObject([{ kind: 'change', method: 'landfall.gateway.v1.CacheService/PurgeCache' }]);
});
