import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { artifactLocationVar, openArtifactStore } from '../src/artifacts/location.ts';
import type { ArtifactStore } from '../src/artifacts/store.ts';
import { S3Server } from './s3-server.ts';

const seed = Number(process.env.LANDFALL_TEST_SEED ?? Date.now() % 2 ** 31);
const MIB = 1024 * 1024;
const s3 = await S3Server.start();
const folder = mkdtempSync(join(tmpdir(), 'landfall-stores-'));
const urls = { disk: `file://${folder}/blobs`, s3: s3.url('models/one') };
const roots = { disk: join(folder, 'blobs'), s3: s3.folder };
const open = (url: string): Promise<ArtifactStore> =>
  openArtifactStore(artifactLocationVar({ URL: url }, 'URL', ''), join(folder, 'spool'));
afterAll(async () => {
  await s3[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const digestOf = (content: Buffer) => `sha256:${createHash('sha256').update(content).digest('hex')}`;
async function* inChunks(content: Buffer, size = 300_000) {
  for (let at = 0; at < content.length; at += size) yield content.subarray(at, at + size);
}
const all = async (content: AsyncIterable<Uint8Array>) => Buffer.concat(await Array.fromAsync(content));

describe.each(['disk', 's3'] as const)(`a store on %s (seed ${seed})`, (kind) => {
  /** The files that hold a blob or its sums. */
  const filesOf = (digest: string, part: 'sha256' | 'sums') =>
    readdirSync(roots[kind], { recursive: true, encoding: 'utf8' })
      .filter((path) => path.includes(join(part, digest.slice(7, 9), digest.slice(9))))
      .filter((path) => !/metadata|md5/.test(path))
      .map((path) => join(roots[kind], path));
  const change = (digest: string, part: 'sha256' | 'sums', at: number) => {
    const [path] = filesOf(digest, part);
    const bytes = readFileSync(path!);
    bytes[at]! ^= 1;
    writeFileSync(path!, bytes);
  };

  test('keeps content with and without a known digest, and reads it whole and in parts', async () => {
    const store = await open(urls[kind]);
    const sizes = [0, 1, MIB - 1, MIB, MIB + 1, 20 * MIB + 7];
    for (const [index, size] of sizes.entries()) {
      const content = randomBytes(size);
      const digest = digestOf(content);
      const options = index % 2 === 0 ? { digest, sizeBytes: size } : {};
      expect(await store.put(inChunks(content), options)).toEqual({ digest, sizeBytes: size });
      expect(await store.size(digest)).toBe(size);
      expect((await all(store.read(digest))).equals(content)).toBe(true);
      await fc.assert(
        fc.asyncProperty(fc.nat(size + 10), fc.nat(3 * MIB), async (offset, length) => {
          const part = Buffer.from(await store.readRange(digest, offset, length));
          expect(part.equals(content.subarray(offset, offset + length))).toBe(true);
        }),
        { seed, numRuns: 8 },
      );
      expect(await Array.fromAsync(store.list())).toContain(digest);
      await store.delete(digest);
      expect(await store.size(digest)).toBeUndefined();
      expect([...filesOf(digest, 'sha256'), ...filesOf(digest, 'sums')]).toEqual([]);
      await expect(all(store.read(digest))).rejects.toMatchObject({ code: status.NOT_FOUND });
      await expect(store.readRange(digest, 0, 1)).rejects.toMatchObject({ code: status.NOT_FOUND });
    }
  });

  test('keeps nothing of content that is not what was announced, too large, or broken off', async () => {
    const store = await open(urls[kind]);
    const content = randomBytes(18 * MIB);
    const digest = digestOf(content);
    const before = (await Array.fromAsync(store.list())).sort();
    const other = Buffer.from(content);
    other[other.length - 1]! ^= 1;
    await expect(store.put(inChunks(other), { digest })).rejects.toMatchObject({ code: status.DATA_LOSS });
    await expect(store.put(inChunks(content), { sizeBytes: 5 })).rejects.toMatchObject({
      code: status.DATA_LOSS,
    });
    await expect(store.put(inChunks(content), { digest, maxBytes: 9 * MIB })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    const broken = (async function* () {
      yield content.subarray(0, 17 * MIB);
      throw new Error('the sender has gone');
    })();
    await expect(store.put(broken, { digest })).rejects.toThrow('the sender has gone');
    const abort = new AbortController();
    const stopped = (async function* () {
      yield content.subarray(0, 17 * MIB);
      abort.abort(new Error('stopped'));
      yield content.subarray(17 * MIB);
    })();
    await expect(store.put(stopped, { digest, signal: abort.signal })).rejects.toThrow('stopped');
    expect((await Array.fromAsync(store.list())).sort()).toEqual(before);
  });

  test('a changed bit is found by whoever reads the piece that it is in, and never given out', async () => {
    const store = await open(urls[kind]);
    const content = randomBytes(5 * MIB + 11);
    const digest = digestOf(content);
    await store.put(inChunks(content), { digest });
    await store.readRange(digest, 0, content.length);
    // Such a change of a bit on disk tells no clock: the same store must see it.
    change(digest, 'sha256', 3 * MIB + 5);
    for (const [offset, length] of [
      [3 * MIB, 10],
      [2 * MIB, 2 * MIB],
    ] as const) {
      await expect(store.readRange(digest, offset, length)).rejects.toMatchObject({ code: status.DATA_LOSS });
    }
    const received: Uint8Array[] = [];
    await expect(
      (async () => {
        for await (const chunk of store.read(digest)) received.push(chunk);
      })(),
    ).rejects.toMatchObject({ code: status.DATA_LOSS });
    expect(Buffer.concat(received).length).toBeLessThan(content.length);
    // Sound pieces are served on, and another upload heals.
    expect(Buffer.from(await store.readRange(digest, 0, 100)).equals(content.subarray(0, 100))).toBe(true);
    await store.put(inChunks(content), { digest });
    expect((await all(store.read(digest))).equals(content)).toBe(true);
  });

  test('sums that are lost or damaged are made anew from sound content', async () => {
    const content = randomBytes(3 * MIB);
    const digest = digestOf(content);
    await (await open(urls[kind])).put(inChunks(content), { digest });
    change(digest, 'sums', 40);
    expect(
      Buffer.from(await (await open(urls[kind])).readRange(digest, MIB, 9)).equals(
        content.subarray(MIB, MIB + 9),
      ),
    ).toBe(true);
    for (const path of filesOf(digest, 'sums')) rmSync(path);
    const store = await open(urls[kind]);
    expect(
      Buffer.from(await store.readRange(digest, 2 * MIB, 9)).equals(content.subarray(2 * MIB, 2 * MIB + 9)),
    ).toBe(true);
    expect(filesOf(digest, 'sums')).toHaveLength(1);
  });
});

test('an object store that is away is UNAVAILABLE, and says no address', async () => {
  const gone = await S3Server.start();
  const store = await open(gone.url('x'));
  await gone[Symbol.asyncDispose]();
  process.env.AWS_ACCESS_KEY_ID = 'x';
  process.env.AWS_SECRET_ACCESS_KEY = 'x';
  process.env.AWS_MAX_ATTEMPTS = '1';
  const error = await store.size(`sha256:${'0'.repeat(64)}`).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ code: status.UNAVAILABLE });
  expect((error as Error).message).not.toContain('127.0.0.1');
});

test.each([
  ['gs://bucket/x', 's3://'],
  ['s3://user:secret@bucket/x', 'AWS_ACCESS_KEY_ID'],
  ['s3://B/x', 'bucket'],
  ['s3://bucket/x?endpoint=ftp://y', 'endpoint'],
  ['s3://bucket/x?secret=y', 'option'],
  ['s3://bucket/x?path_style=maybe', 'path_style'],
  ['file://host/x', 'another host'],
])('%s is no place for artifacts', (url, said) => {
  const read = () => artifactLocationVar({ PLACE: url }, 'PLACE', '');
  expect(read).toThrow(/^PLACE /);
  expect(read).toThrow(said);
  expect(read).not.toThrow('secret@');
});
