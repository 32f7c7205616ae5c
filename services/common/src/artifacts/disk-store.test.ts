import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { DiskStore } from './disk-store.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'landfall-store-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function* chunks(...parts: (string | Buffer)[]) {
  for (const part of parts) yield Buffer.from(part);
}
async function all(content: AsyncIterable<Uint8Array>) {
  const parts: Uint8Array[] = [];
  for await (const part of content) parts.push(part);
  return Buffer.concat(parts);
}

test('keeps content by its digest, once', async () => {
  const store = await DiskStore.open(folder);
  const blob = await store.put(chunks('落', '地'));
  expect(blob.sizeBytes).toBe(6);
  expect(await store.put(chunks('落地'), { digest: blob.digest, sizeBytes: 6 })).toEqual(blob);
  expect((await all(store.read(blob.digest))).toString()).toBe('落地');
  expect(Buffer.from(await store.readRange(blob.digest, 3, 100)).toString()).toBe('地');
  expect(await Array.fromAsync(store.list())).toEqual([blob.digest]);
});

test('keeps nothing of content that is not what was announced, too large, or broken off', async () => {
  const store = await DiskStore.open(folder);
  const digest = `sha256:${'0'.repeat(64)}`;
  await expect(store.put(chunks('x'), { digest })).rejects.toMatchObject({ code: status.DATA_LOSS });
  await expect(store.put(chunks('x'), { sizeBytes: 2 })).rejects.toMatchObject({ code: status.DATA_LOSS });
  await expect(store.put(chunks('xyz'), { maxBytes: 2 })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
  });
  async function* breaks() {
    yield Buffer.from('x');
    throw new Error('gone');
  }
  await expect(store.put(breaks())).rejects.toThrow('gone');
  expect(await Array.fromAsync(store.list())).toEqual([]);
  expect(readdirSync(join(folder, 'tmp'))).toEqual([]);
});

test('a changed bit is DATA_LOSS, read whole or in part, and the last chunk is never given out', async () => {
  const store = await DiskStore.open(folder);
  const content = Buffer.alloc(600_000, 7);
  const { digest } = await store.put(chunks(content));
  expect((await store.readRange(digest, 0, 10)).length).toBe(10);
  const hex = digest.slice(7);
  const path = join(folder, 'sha256', hex.slice(0, 2), hex.slice(2));
  const bytes = readFileSync(path);
  bytes[5] = bytes[5]! ^ 1;
  writeFileSync(path, bytes);
  let seen = 0;
  const read = async () => {
    for await (const chunk of store.read(digest)) seen += chunk.length;
  };
  await expect(read()).rejects.toMatchObject({ code: status.DATA_LOSS });
  expect(seen).toBeLessThan(content.length);
  await expect(store.readRange(digest, 0, 10)).rejects.toMatchObject({ code: status.DATA_LOSS });
});

test('a digest that is a path, short, long or upper case is INVALID_ARGUMENT', async () => {
  const store = await DiskStore.open(folder);
  const hex = 'a'.repeat(64);
  for (const digest of [
    'sha256:../../x',
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}a`,
    `sha256:${hex.toUpperCase()}`,
    hex,
    '',
  ]) {
    await expect(store.size(digest)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
    await expect(all(store.read(digest))).rejects.toMatchObject({ code: status.INVALID_ARGUMENT });
  }
  await expect(store.size(`sha256:${hex}`)).resolves.toBeUndefined();
});
