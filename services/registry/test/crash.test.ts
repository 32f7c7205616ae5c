import { randomUUID } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { LandfallError } from '@landfall/common/errors/errors.ts';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { baseFiles, writeFolder } from './fixtures.ts';
import { type Client, download, putAll, RegistryHarness, until, uploadOf } from './harness.ts';
import { freePort, RegistryProcess } from './process.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);
const address = `127.0.0.1:${await freePort()}`;
const harness = await RegistryHarness.start({ LANDFALL_LISTEN: address, LANDFALL_COLLECT_AFTER_MS: '500' });
await harness?.stopService();
afterAll(async () => harness?.[Symbol.asyncDispose]());

/** Numbers in [0, 1) from the seed (mulberry32). */
let state = seed;
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), state | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
}

const AWAY = new Set([status.UNAVAILABLE, status.CANCELLED, status.DEADLINE_EXCEEDED]);

/** Repeats a call until the service has answered it. */
async function insist<R>(call: () => Promise<R>): Promise<R> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!AWAY.has((error as LandfallError).code)) throw error;
      await delay(25);
    }
  }
}

describe.skipIf(!harness)(`crashes (seed ${seed})`, () => {
  let registry: RegistryProcess;
  let client: Client;
  beforeAll(() => {
    client = harness!.client(undefined, address);
  });
  afterEach(() => registry?.kill());

  /** Versions of a model and how often the broker holds their event. */
  async function announced(name: string): Promise<Record<string, number>> {
    const counts: Record<string, number> = {};
    for (const { subject, payload } of await harness!.keptEvents()) {
      if (subject !== 'landfall.registry.model.ready.v1' || payload.name !== name) continue;
      counts[String(payload.version)] = (counts[String(payload.version)] ?? 0) + 1;
    }
    return counts;
  }

  test('killed between commit and publication, it announces the version once when it is back', async () => {
    registry = await RegistryProcess.start(harness!.env);
    await client.createModel({ name: 'between', kind: Kind.BASE });
    await client.createVersion({ name: 'between' });
    await putAll(client, 'between', '1.0.0', baseFiles());
    // The broker is there and says nothing: what is committed now can't be published.
    process.kill(harness!.nats.pid, 'SIGSTOP');
    try {
      const { version } = await client.commitVersion({ name: 'between', version: '1.0.0' });
      expect(version!.state).toBe(VersionState.READY);
      await registry.kill();
    } finally {
      process.kill(harness!.nats.pid, 'SIGCONT');
    }
    registry = await RegistryProcess.start(harness!.env);
    await until(async () => (await announced('between'))['1.0.0'] !== undefined, 'the event is kept');
    await client.commitVersion({ name: 'between', version: '1.0.0' });
    expect(await registry.stop()).toBe(0);
    registry = await RegistryProcess.start(harness!.env);
    await delay(300);
    expect(await announced('between')).toEqual({ '1.0.0': 1 });
  }, 120_000);

  test('killed at random points, it keeps what it acknowledged and announces every version once', async () => {
    const name = 'random';
    writeFolder(join(harness!.importRoot, 'folder'), baseFiles(99));
    registry = await RegistryProcess.start(harness!.env);
    await client.createModel({ name, kind: Kind.BASE });
    const acknowledged = new Map<string, string>();
    let done = false;
    const work = async () => {
      for (let mark = 0; !done; mark++) {
        const ids = [randomUUID(), randomUUID(), randomUUID()];
        if (mark % 4 === 3) {
          const call = { requestId: ids[0]!, name, folder: 'folder' };
          const { version } = await insist(() => client.importModel(call));
          acknowledged.set(version!.version, version!.digest);
          continue;
        }
        const { version: draft } = await insist(() => client.createVersion({ requestId: ids[0]!, name }));
        const version = draft!.version;
        const files = baseFiles(mark);
        const weights = files.get('model.safetensors')!;
        files.delete('model.safetensors');
        await insist(() => putAll(client, name, version, files));
        const header = { name, version, path: 'model.safetensors' };
        await insist(() => client.uploadArtifact(uploadOf(header, weights, 256)));
        const commit = { requestId: ids[2]!, name, version, metrics: { mark } };
        const { version: ready } = await insist(() => client.commitVersion(commit));
        acknowledged.set(version, ready!.digest);
      }
    };
    const working = Promise.all([work(), work()]);
    for (let round = 0; round < 5; round++) {
      const before = acknowledged.size;
      await until(() => acknowledged.size > before, 'the work goes on');
      await delay(random() * 300);
      await registry.kill();
      registry = await RegistryProcess.start(harness!.env);
    }
    done = true;
    await working;
    const { versions } = await client.listVersions({ name, pageSize: 500 });
    const ready = versions.filter(({ state: now }) => now === VersionState.READY);
    for (const [version, digest] of acknowledged) {
      expect(ready.find((one) => one.version === version)?.digest, version).toBe(digest);
    }
    for (const { version, manifest } of ready) {
      expect(manifest!.files.length, version).toBe(3);
      // The store verifies what it gives out.
      for (const { path } of manifest!.files) await download(client, { name, version, path });
    }
    const all = Object.fromEntries(ready.map(({ version }) => [version, 1]));
    await until(async () => Object.keys(await announced(name)).length >= ready.length, 'all events are kept');
    expect(await announced(name)).toEqual(all);
    // Leftovers of broken uploads are collected.
    const referred = new Set(
      versions.flatMap(({ manifest }) => manifest!.files.map(({ digest }) => digest.slice(9))),
    );
    const between = await client.listVersions({ name: 'between' });
    for (const { manifest } of between.versions)
      for (const { digest } of manifest!.files) referred.add(digest.slice(9));
    const blobs = () =>
      readdirSync(join(harness!.artifacts, 'sha256'), { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => entry.name);
    await until(() => blobs().every((blob) => referred.has(blob)), 'only what is referred to is kept');
    expect(readdirSync(join(harness!.artifacts, 'tmp'))).toEqual([]);
    expect(new Set(blobs())).toEqual(referred);
    expect(await registry.stop()).toBe(0);
  }, 180_000);
});
