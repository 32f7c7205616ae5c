import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { Kind, VersionState } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { datasetFiles } from './fixtures.ts';
import { type Client, download, putAll, RegistryHarness, register, until, uploadOf } from './harness.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);
const harness = await RegistryHarness.start({
  LANDFALL_UPLOAD_IDLE_MS: '2000',
  LANDFALL_COLLECT_AFTER_MS: '200',
});
afterAll(async () => harness?.[Symbol.asyncDispose]());

const digestOf = (content: Uint8Array) => `sha256:${createHash('sha256').update(content).digest('hex')}`;

describe.skipIf(!harness)(`artifacts (seed ${seed})`, () => {
  let client: Client;
  const name = 'files';
  const version = '1.0.0';
  const rows = Buffer.from(`[${Array.from({ length: 40_000 }, (_, i) => `{"question":"q${i}"}`).join(',')}]`);
  const blob = (digest: string) => join(harness!.artifacts, 'sha256', digest.slice(7, 9), digest.slice(9));
  const stored = () =>
    readdirSync(join(harness!.artifacts, 'sha256'), { recursive: true, withFileTypes: true })
      .filter((e) => e.isFile())
      .map((e) => e.name);
  const hasBlob = (digest: string) => stored().includes(digest.slice(9));

  beforeAll(async () => {
    client = harness!.client();
    await register(
      client,
      name,
      Kind.DATASET,
      new Map([
        ['rows.json', rows],
        ['empty.txt', Buffer.alloc(0)],
      ]),
    );
  });

  test('ranges are the bytes of the file', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(rows.length), fc.nat(rows.length + 10), async (offset, length) => {
        const got = await download(client, {
          name,
          version,
          path: 'rows.json',
          offset: BigInt(offset),
          length: BigInt(length),
        });
        expect(got.equals(rows.subarray(offset, length === 0 ? undefined : offset + length))).toBe(true);
      }),
      { seed, numRuns: 40 },
    );
    expect((await download(client, { name, version, path: 'empty.txt' })).length).toBe(0);
    for (const { file } of await Array.fromAsync(
      client.downloadArtifact({ name, version, path: 'empty.txt' }),
    )) {
      expect(file).toMatchObject({ path: 'empty.txt', sizeBytes: 0n });
    }
    const beyond = { name, version, path: 'rows.json', offset: BigInt(rows.length + 1) };
    await expect(download(client, beyond)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(download(client, { name, version })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(download(client, { name, version, path: 'no.json' })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
    const foreign = { name, version, digest: digestOf(Buffer.from('of nobody')) };
    await expect(download(client, foreign)).rejects.toMatchObject({ code: status.NOT_FOUND });
    const mixed = { name, version, path: 'empty.txt', digest: digestOf(rows) };
    await expect(download(client, mixed)).rejects.toMatchObject({ code: status.NOT_FOUND });
    for await (const { chunk } of client.downloadArtifact({ name, version, path: 'rows.json' })) {
      expect(chunk.length).toBeLessThanOrEqual(256 * 1024);
    }
  });

  test('a file of a draft can be had by digest, before anything is committed', async () => {
    await client.createVersion({ name, version: '2.0.0-draft' });
    const { file } = await client.putArtifact({
      header: { name, version: '2.0.0-draft', path: 'a.json' },
      content: Buffer.from('[1]'),
    });
    const draft = { name, version: '2.0.0-draft', digest: file!.digest };
    expect((await download(client, draft)).toString()).toBe('[1]');
    expect((await client.getVersion({ name, version: '2.0.0-draft' })).version!.state).toBe(
      VersionState.DRAFT,
    );
  });

  test('what does not match its digest or size is DATA_LOSS, and nothing is kept', async () => {
    await client.createVersion({ name, version: '3.0.0' });
    const content = randomBytes(300_000);
    const header = { name, version: '3.0.0', path: 'x' };
    const wrong = [
      { ...header, digest: digestOf(Buffer.from('other')) },
      { ...header, sizeBytes: BigInt(content.length + 1) },
      { ...header, sizeBytes: 10n },
    ];
    for (const claims of wrong) {
      await expect(client.uploadArtifact(uploadOf(claims, content))).rejects.toMatchObject({
        code: status.DATA_LOSS,
      });
      await expect(client.putArtifact({ header: claims, content })).rejects.toMatchObject({
        code: status.DATA_LOSS,
      });
    }
    expect(hasBlob(digestOf(content))).toBe(false);
    expect(readdirSync(join(harness!.artifacts, 'tmp'))).toEqual([]);
    expect((await client.getVersion({ name, version: '3.0.0' })).version!.manifest!.files).toEqual([]);
  });

  test('an upload that breaks off, stalls or is no upload leaves nothing', async () => {
    await client.createVersion({ name, version: '4.0.0' });
    const header = { name, version: '4.0.0', path: 'x' };
    const content = randomBytes(500_000);
    const stop = new AbortController();
    async function* breaksOff() {
      let sent = 0;
      for await (const part of uploadOf(header, content, 50_000)) {
        yield part;
        if (++sent === 4) stop.abort();
        await delay(5);
      }
    }
    await expect(client.uploadArtifact(breaksOff(), { signal: stop.signal })).rejects.toMatchObject({
      code: status.CANCELLED,
    });
    async function* stalls() {
      yield { part: { case: 'header' as const, value: header } };
      yield { part: { case: 'chunk' as const, value: content.subarray(0, 1000) } };
      await delay(10_000);
    }
    await expect(client.uploadArtifact(stalls())).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
    async function* silent() {
      await delay(10_000);
      yield { part: { case: 'header' as const, value: header } };
    }
    await expect(client.uploadArtifact(silent())).rejects.toMatchObject({ code: status.DEADLINE_EXCEEDED });
    const invalid = { code: status.INVALID_ARGUMENT };
    const chunk = { part: { case: 'chunk' as const, value: content.subarray(0, 10) } };
    const head = { part: { case: 'header' as const, value: header } };
    const sequences = [[], [chunk], [head, chunk, head], [{}], [head, {}]];
    for (const messages of sequences) {
      const stream = (async function* () {
        yield* messages;
      })();
      await expect(client.uploadArtifact(stream)).rejects.toMatchObject(invalid);
    }
    const large = { part: { case: 'chunk' as const, value: new Uint8Array(1024 * 1024 + 1) } };
    const tooLarge = (async function* () {
      yield head;
      yield large;
    })();
    await expect(client.uploadArtifact(tooLarge)).rejects.toMatchObject(invalid);
    await until(() => readdirSync(join(harness!.artifacts, 'tmp')).length === 0, 'nothing lies in tmp');
    expect((await client.getVersion({ name, version: '4.0.0' })).version!.manifest!.files).toEqual([]);
  });

  test('an upload of many megabytes takes little memory', async () => {
    await client.createVersion({ name, version: '5.0.0' });
    const part = randomBytes(1024 * 1024);
    const hash = createHash('sha256');
    async function* megabytes() {
      yield { part: { case: 'header' as const, value: { name, version: '5.0.0', path: 'big.dat' } } };
      for (let i = 0; i < 48; i++) {
        part.writeUInt32LE(i);
        hash.update(part);
        yield { part: { case: 'chunk' as const, value: Uint8Array.from(part) } };
      }
    }
    const before = process.memoryUsage().rss;
    const { file } = await client.uploadArtifact(megabytes(), { timeoutMs: 60_000 });
    expect(file).toMatchObject({ digest: `sha256:${hash.digest('hex')}`, sizeBytes: 48n * 1024n * 1024n });
    const seen = createHash('sha256');
    for await (const { chunk } of client.downloadArtifact({ name, version: '5.0.0', path: 'big.dat' })) {
      seen.update(chunk);
      // A slow reader: the server waits for it.
      if (chunk.length > 0) await delay(1);
    }
    expect(`sha256:${seen.digest('hex')}`).toBe(file!.digest);
    // Client and server are one process here.
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1024 * 1024);
  });

  test.each<[string, (path: string) => void]>([
    [
      'a changed bit',
      (path) => {
        const bytes = readFileSync(path);
        bytes[bytes.length >> 1]! ^= 1;
        writeFileSync(path, bytes);
      },
    ],
    ['a truncation', (path) => truncateSync(path, 1000)],
    ['a loss', (path) => rmSync(path)],
  ])('%s is DATA_LOSS, is not served whole, and heals by another upload', async (what, damage) => {
    const content = Buffer.from(`[{"row":"${what.repeat(50_000)}"}]`);
    const model = `damaged-${what.replaceAll(' ', '-')}`;
    await register(client, model, Kind.DATASET, new Map([['rows.json', content]]));
    const whole = { name: model, version, path: 'rows.json' };
    damage(blob(digestOf(content)));
    let served = 0;
    const read = async () => {
      for await (const { chunk } of client.downloadArtifact(whole)) served += chunk.length;
    };
    await expect(read()).rejects.toMatchObject({ code: status.DATA_LOSS });
    expect(served).toBeLessThan(content.length);
    await expect(download(client, { ...whole, offset: 5n, length: 10n })).rejects.toMatchObject({
      code: status.DATA_LOSS,
    });
    // A draft that refers to it can not be committed either.
    await client.createVersion({ name: model });
    await putAll(client, model, '1.1.0', new Map([['rows.json', content]]));
    damage(blob(digestOf(content)));
    await expect(client.commitVersion({ name: model, version: '1.1.0' })).rejects.toMatchObject({
      code: status.DATA_LOSS,
    });
    await putAll(client, model, '1.1.0', new Map([['rows.json', content]]));
    await client.commitVersion({ name: model, version: '1.1.0' });
    expect((await download(client, whole)).equals(content)).toBe(true);
  });

  test('equal content is kept once, and what nothing refers to is collected', async () => {
    const model = 'collected';
    await client.createModel({ name: model, kind: Kind.DATASET });
    await client.createVersion({ name: model });
    const [kept, replaced] = [Buffer.from('[{"kept":1}]'), Buffer.from('[{"replaced":1}]')];
    await putAll(
      client,
      model,
      version,
      new Map([
        ['a.json', replaced],
        ['b.json', kept],
      ]),
    );
    await putAll(client, model, version, new Map([['a.json', kept]]));
    const { version: draft } = await client.getVersion({ name: model, version });
    expect(new Set(draft!.manifest!.files.map(({ digest }) => digest))).toEqual(new Set([digestOf(kept)]));
    await until(() => !hasBlob(digestOf(replaced)), 'the replaced content is gone');
    await delay(600);
    expect(hasBlob(digestOf(kept))).toBe(true);
    expect((await download(client, { name: model, version, path: 'b.json' })).equals(kept)).toBe(true);
  });

  test('a full disk is RESOURCE_EXHAUSTED; reads work, and writes again when there is room', async (context) => {
    const small = join(harness!.folder, 'small');
    mkdirSync(small);
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', small], { stdio: 'ignore' });
    } catch {
      return context.skip('no file system of a given size can be mounted here');
    }
    await harness!.stopService();
    const home = harness!.env.LANDFALL_HOME!;
    try {
      harness!.env.LANDFALL_HOME = small;
      await harness!.startService();
      const full = harness!.client();
      await full.createModel({ name: 'full', kind: Kind.DATASET }).catch(() => {});
      await full.createVersion({ name: 'full' });
      await putAll(full, 'full', '1.0.0', datasetFiles());
      const header = { name: 'full', version: '1.0.0', path: 'big' };
      const exhausted = { code: status.RESOURCE_EXHAUSTED, reason: 'DISK_FULL' };
      await expect(full.uploadArtifact(uploadOf(header, randomBytes(4 << 20)))).rejects.toMatchObject(
        exhausted,
      );
      expect(readdirSync(join(small, 'registry', 'artifacts', 'tmp'))).toEqual([]);
      // The last bytes go, so that the database finds no room either.
      const filler = join(small, 'filler');
      try {
        writeFileSync(filler, randomBytes(4 << 20));
      } catch {}
      const results = await Promise.allSettled(
        Array.from({ length: 20 }, () => full.createVersion({ name: 'full', description: 'x'.repeat(4000) })),
      );
      const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.code] : []));
      if (!harness!.env.LANDFALL_DATABASE_URL) expect(failed.length).toBeGreaterThan(0);
      expect(new Set(failed)).toEqual(new Set(failed.length > 0 ? [status.RESOURCE_EXHAUSTED] : []));
      expect(
        (await download(full, { name: 'full', version: '1.0.0', path: 'train.json' })).length,
      ).toBeGreaterThan(0);
      rmSync(filler);
      await full.commitVersion({ name: 'full', version: '1.0.0' });
    } finally {
      await harness!.stopService().finally(() => execFileSync('umount', ['-l', small]));
      harness!.env.LANDFALL_HOME = home;
      await harness!.startService();
    }
  });
});
