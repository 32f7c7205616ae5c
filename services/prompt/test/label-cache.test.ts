import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { type TestDatabase, testDatabase } from '@landfall/common/db/test-database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { followLabels } from '@landfall/common/prompts/follow-labels.ts';
import { LabelCache, type LabelCacheOptions } from '@landfall/common/prompts/label-cache.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { programEnv } from '@landfall/common/test/program-env.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';

const li = { subject: 'user:li', tenant: 'acme', role: Role.EDITOR };
const wang = { subject: 'user:wang', tenant: 'acme', role: Role.VIEWER };
const logger = createLogger('test', 'silent');
const running = new AsyncDisposableStack();
const key = randomBytes(48);
let place: TestDatabase | undefined;
let folder: string;
let natsUrl: string;
let port: number;
let service: ChildProcess | undefined;
let channel: RpcChannel;
let reads = 0;

beforeAll(async () => {
  place = await testDatabase();
  if (!place) return;
  running.use(place);
  folder = mkdtempSync(join(tmpdir(), 'landfall-labels-'));
  running.defer(() => rmSync(folder, { recursive: true, force: true }));
  writeFileSync(join(folder, 'mesh.key'), key);
  natsUrl = running.use(await startNatsServer({ folder: join(folder, 'nats') })).url;
  port = await freePort();
  await start();
  running.defer(() => channel.close());
  running.defer(kill);
}, 60_000);
afterAll(() => running.disposeAsync());
beforeEach(() => {
  reads = 0;
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return (address as { port: number }).port;
}

/** The service as a process of its own. */
async function start(): Promise<void> {
  const env = {
    LANDFALL_LOG_LEVEL: 'error',
    ...{ ...programEnv(), LANDFALL_HOME: folder, LANDFALL_NATS_URL: natsUrl },
    ...{ LANDFALL_DATABASE_URL: place!.url, LANDFALL_MESH_KEY_FILE: join(folder, 'mesh.key') },
    ...{ LANDFALL_BALANCER_URL: '127.0.0.1:1', LANDFALL_LISTEN: `127.0.0.1:${port}` },
  };
  const main = join(import.meta.dirname, '../src/main.ts');
  const child = spawn(process.execPath, [main], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  service = child;
  await once(child.stdout, 'data');
  // A connection that has found nobody waits before it tries again: this one is new.
  channel?.close();
  channel = new RpcChannel(`127.0.0.1:${port}`, { signer: new IdentitySigner(key), identity: li });
}

async function kill(): Promise<void> {
  if (!service || service.exitCode !== null || service.signalCode !== null) return;
  const gone = once(service, 'exit');
  service.kill('SIGKILL');
  await gone;
}

function cache(options: Partial<LabelCacheOptions> = {}): LabelCache {
  return new LabelCache({
    read: (request, call) => {
      reads += 1;
      return channel.client(PromptService).getPrompt(request, call);
    },
    ...{ logger, pauseMs: 50, ...options },
  });
}

async function make(name: string): Promise<void> {
  const prompts = channel.client(PromptService);
  for (const template of ['first', 'second']) {
    const draft = { messages: [{ role: 'user', template }] };
    await (template === 'first'
      ? prompts.createPrompt({ name, draft })
      : prompts.createVersion({ name, draft }));
  }
  await prompts.setLabel({ name, label: 'production', version: '1.0.0' });
}

const text = (reply: { version?: { messages: { template: string }[] } }) =>
  reply.version!.messages[0]!.template;

test('a killed service is outlasted, by this process and the next, for whoever has read, and news come when it is back', async (t) => {
  if (!place) return t.skip();
  await make('lasting');
  const disk = join(folder, 'cache');
  const first = cache({ folder: disk });
  const get = (from: LabelCache, identity = li) => from.get('lasting', 'production', { identity });
  expect(await get(first)).toMatchObject({ labelRevision: 1n, stale: false });
  await kill();
  const kept = await get(first);
  expect(kept).toMatchObject({ stale: true, labelRevision: 1n, version: { version: '1.0.0' } });
  expect(text(kept)).toBe('first');
  // Another has other rights: what they may see is not known here.
  await expect(get(first, wang)).rejects.toMatchObject({ code: status.UNAVAILABLE });
  const next = cache({ folder: disk });
  expect(text(await get(next))).toBe('first');
  // While it is known to be away nobody waits for it.
  reads = 0;
  const paused = cache({ folder: disk, pauseMs: 60_000 });
  for (let i = 0; i < 20; i++) expect((await get(paused)).stale).toBe(true);
  expect(reads).toBe(1);
  await expect(get(cache({ folder: disk, staleMs: 0 }))).rejects.toMatchObject({ code: status.UNAVAILABLE });
  for (const name of readdirSync(disk)) {
    expect(statSync(join(disk, name)).mode & 0o77).toBe(0);
    writeFileSync(join(disk, name), 'half a fi');
  }
  await expect(get(cache({ folder: disk }))).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await start();
  await channel.client(PromptService).setLabel({ name: 'lasting', label: 'production', version: '1.1.0' });
  await expect.poll(async () => (await get(next)).stale).toBe(false);
  expect(text(await get(next))).toBe('second');
}, 60_000);

test('a refusal is no outage: what was kept ends with the right to it', async (t) => {
  if (!place) return t.skip();
  await make('guarded');
  const disk = join(folder, 'guarded');
  const one = cache({ folder: disk });
  const get = () => one.get('guarded', 'production', { identity: wang });
  expect(text(await get())).toBe('first');
  const target = { target: { case: 'prompt' as const, value: 'guarded' } };
  await channel.client(PromptAccessService).restrictAccess({ target, restricted: true });
  await expect(get()).rejects.toMatchObject({ code: status.NOT_FOUND });
  expect(readdirSync(disk)).toEqual([]);
  await kill();
  await expect(get()).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await start();
}, 60_000);

test('within its time a read is given out again, until an event says that the label has moved', async (t) => {
  if (!place) return t.skip();
  await make('watched');
  await using broker = await Broker.connect(natsUrl, 'labels', logger);
  const fresh = cache({ freshMs: 600_000 });
  await using _following = await followLabels(fresh, broker, logger);
  const get = () => fresh.get('watched', 'production', { identity: li });
  for (let i = 0; i < 5; i++) expect(text(await get())).toBe('first');
  expect(reads).toBe(1);
  await channel.client(PromptService).setLabel({ name: 'watched', label: 'production', version: '1.1.0' });
  await expect.poll(async () => text(await get()), { timeout: 10_000 }).toBe('second');
  expect((await get()).labelRevision).toBe(2n);
  reads = 0;
  await get();
  expect(reads).toBe(0);
}, 60_000);
