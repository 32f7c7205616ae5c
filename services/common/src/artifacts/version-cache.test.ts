import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { notFound, unavailable } from '../errors/errors.ts';
import type { ReadRange } from './parallel-fetch.ts';
import { VersionCache, type VersionFile } from './version-cache.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(path.join(tmpdir(), 'version-cache-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const never = new AbortController().signal;
const MIB = 1024 * 1024;
const cacheOf = (limitBytes = Number.POSITIVE_INFINITY, keepMs = 60_000) =>
  new VersionCache(root, { limitBytes, keepMs });
const contents = new Map<string, Buffer>();
const file = (name: string, content: Buffer): VersionFile => {
  const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
  contents.set(digest, content);
  return { path: name, digest, sizeBytes: content.length };
};
const files = [file('config.json', Buffer.from('{}')), file('onnx/model.bin', Buffer.from('weights'))];
let reads: { path: string; offset: number; length: number }[] = [];
beforeEach(() => {
  reads = [];
});
const read: ReadRange<VersionFile> = async function* ({ path: name, digest }, offset, length) {
  reads.push({ path: name, offset, length });
  const content = contents.get(digest)!;
  const part = content.subarray(offset, length === 0 ? undefined : offset + length);
  for (let at = 0; at < part.length; at += 300_000) yield part.subarray(at, at + 300_000);
};
/** Has a version as one that nobody asked for lately. */
const age = (folder: string) => {
  utimesSync(path.join(root, 'used', path.basename(folder)), 1, 1);
  for (const entry of readdirSync(path.join(root, 'blobs'), { recursive: true, encoding: 'utf8' }))
    utimesSync(path.join(root, 'blobs', entry), 1, 1);
};

describe('VersionCache', () => {
  test('fetches once, shares a running download, and keeps nothing beside it', async () => {
    const cache = cacheOf();
    const [a, b] = await Promise.all([cache.folder(files, read, never), cache.folder(files, read, never)]);
    expect(a).toBe(b);
    expect(readFileSync(path.join(a, 'onnx/model.bin'), 'utf8')).toBe('weights');
    expect(await cacheOf().folder(files, read, never)).toBe(a);
    expect(reads).toHaveLength(2);
    expect(readdirSync(root).sort()).toEqual([path.basename(a), 'blobs', 'used'].sort());
  });

  test('versions that share a content fetch and keep it once', async () => {
    const cache = cacheOf();
    const a = await cache.folder(files, read, never);
    const b = await cache.folder([files[1]!, file('config.json', Buffer.from('{"a":1}'))], read, never);
    expect(reads.map(({ path: name }) => name)).toEqual(['config.json', 'onnx/model.bin', 'config.json']);
    const [one, other] = [a, b].map((folder) => statSync(path.join(folder, 'onnx/model.bin')).ino);
    expect(one).toBe(other);
  });

  test('content that differs from its digest is refused and not kept', async () => {
    const wrong: ReadRange<VersionFile> = async function* () {
      yield Buffer.from('xx');
    };
    const cache = cacheOf();
    await expect(cache.folder(files, wrong, never)).rejects.toMatchObject({ code: status.DATA_LOSS });
    expect(readdirSync(path.join(root, 'blobs'))).toEqual([]);
    expect(readdirSync(root).filter((name) => name.startsWith('.'))).toEqual([]);
    expect(existsSync(await cache.folder(files, read, never))).toBe(true);
  });

  test('a bit that changed on disk is found and the file fetched anew', async () => {
    const folder = await cacheOf().folder(files, read, never);
    writeFileSync(path.join(folder, 'onnx/model.bin'), 'weighty');
    expect(await cacheOf().folder(files, read, never)).toBe(folder);
    expect(readFileSync(path.join(folder, 'onnx/model.bin'), 'utf8')).toBe('weights');
  });

  test('paths and digests that could lead elsewhere are refused before anything is read', async () => {
    for (const name of ['../x', '/x', 'a/../../x', 'a\\..\\x', 'a\0b', '', 'a//b', '.']) {
      await expect(cacheOf().folder([{ ...files[0]!, path: name }], read, never)).rejects.toMatchObject({
        code: status.DATA_LOSS,
      });
    }
    const digest = 'sha256:../../x';
    await expect(cacheOf().folder([{ ...files[0]!, digest }], read, never)).rejects.toThrow('digest');
    expect(readdirSync(root)).toEqual([]);
  });

  test('a large file comes in ranges at once, which go on where the source breaks off', async () => {
    const large = file('model.safetensors', randomBytes(70 * MIB + 13));
    let [atOnce, most] = [0, 0];
    const breaks = new Set([0, 32 * MIB]);
    const flaky: ReadRange<VersionFile> = async function* (one, offset, length, signal) {
      atOnce++;
      most = Math.max(most, atOnce);
      try {
        let sent = 0;
        for await (const chunk of read(one, offset, length, signal)) {
          await new Promise(setImmediate);
          if (sent > 0 && breaks.delete(offset)) throw unavailable('the registry is restarting');
          yield chunk;
          sent += chunk.length;
        }
      } finally {
        atOnce--;
      }
    };
    const folder = await cacheOf().folder([large], flaky, never);
    expect(readFileSync(path.join(folder, 'model.safetensors')).equals(contents.get(large.digest)!)).toBe(
      true,
    );
    expect(most).toBe(4);
    expect(breaks.size).toBe(0);
    expect(reads.map(({ offset }) => offset).sort((a, b) => a - b)).toEqual([
      0,
      300_000,
      16 * MIB,
      32 * MIB,
      32 * MIB + 300_000,
      48 * MIB,
      64 * MIB,
    ]);
  });

  test('a source that stays away, or stops, ends the download and leaves nothing', async () => {
    const large = file('model.safetensors', randomBytes(40 * MIB));
    // biome-ignore lint/correctness/useYield: it fails before it could.
    const away: ReadRange<VersionFile> = async function* () {
      throw unavailable('no registry');
    };
    await expect(cacheOf().folder([large], away, never)).rejects.toMatchObject({ code: status.UNAVAILABLE });
    const abort = new AbortController();
    const stopped: ReadRange<VersionFile> = async function* (...request) {
      for await (const chunk of read(...request)) {
        yield chunk;
        abort.abort(new Error('stopped'));
      }
    };
    await expect(cacheOf().folder([large], stopped, abort.signal)).rejects.toThrow('stopped');
    // The caller is told at once; what has come is removed as the download ends.
    await vi.waitFor(() =>
      expect(readdirSync(root).filter((name) => !['blobs', 'used'].includes(name))).toEqual([]),
    );
  });

  test('a caller who leaves, in whose name a download began, takes nothing from those who wait for it too', async () => {
    const cache = cacheOf();
    const [first, last] = [new AbortController(), new AbortController()];
    const begun = Promise.withResolvers<AbortSignal>();
    const goOn = Promise.withResolvers<void>();
    const slow: ReadRange<VersionFile> = async function* (one, offset, length, signal) {
      begun.resolve(signal);
      await goOn.promise;
      signal.throwIfAborted();
      yield* read(one, offset, length, signal);
    };
    const gone = cache.folder(files, slow, first.signal);
    const waits = cache.folder(files, slow, last.signal);
    const signal = await begun.promise;
    first.abort(new Error('its deadline has passed'));
    await expect(gone).rejects.toThrow('its deadline has passed');
    expect(signal.aborted).toBe(false);
    goOn.resolve();
    expect(existsSync(await waits)).toBe(true);
    expect(reads).toHaveLength(2);
  });

  test('what is refused to the one in whose name it is read, another reads in their own', async () => {
    const cache = cacheOf();
    // biome-ignore lint/correctness/useYield: it fails before it could.
    const refused: ReadRange<VersionFile> = async function* () {
      throw notFound('no such version');
    };
    const [theirs, mine] = await Promise.allSettled([
      cache.folder(files, refused, never),
      cache.folder(files, read, never),
    ]);
    expect(theirs).toMatchObject({ status: 'rejected', reason: { code: status.NOT_FOUND } });
    expect(mine.status).toBe('fulfilled');
  });

  test('above its limit the version that was asked for the longest ago goes, with what no other shares', async () => {
    const shared = file('shared.bin', randomBytes(MIB));
    const version = (index: number) => [shared, file('own.bin', randomBytes(MIB + index))];
    const cache = cacheOf(3.5 * MIB);
    const [first, second] = [version(1), version(2)];
    const a = await cache.folder(first, read, never);
    age(a);
    const b = await cache.folder(second, read, never);
    // Shared content counts once: both fit.
    expect([a, b].map(existsSync)).toEqual([true, true]);
    age(b);
    // Asked for again, the first is the younger one.
    await cache.folder(first, read, never);
    const c = await cache.folder(version(3), read, never);
    expect([a, b, c].map(existsSync)).toEqual([true, false, true]);
    expect(readFileSync(path.join(a, 'shared.bin')).equals(contents.get(shared.digest)!)).toBe(true);
    const kept = readdirSync(path.join(root, 'blobs'), { recursive: true, withFileTypes: true });
    expect(kept.filter((entry) => entry.isFile())).toHaveLength(3);
    // What was asked for lately stays, whatever the limit.
    await cacheOf(0).folder(first, read, never);
    expect([a, c].map(existsSync)).toEqual([true, true]);
  });

  test('a pinned version stays in use while its process lives', async () => {
    const cache = new VersionCache(root, { limitBytes: 0, keepMs: 3000 });
    using pinned = new VersionCache(root, { limitBytes: 0, keepMs: 3000 });
    const folder = await pinned.folder(files, read, never, { pin: true });
    age(folder);
    const stamp = path.join(root, 'used', path.basename(folder));
    for (const end = Date.now() + 20_000; statSync(stamp).mtimeMs < 10_000; ) {
      if (Date.now() > end) throw new Error('the pin was not renewed');
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(await cache.trim()).toBe(0);
    expect(existsSync(folder)).toBe(true);
  });
});
