import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { registryReader } from '@landfall/common/artifacts/registry-reader.ts';
import { VersionCache } from '@landfall/common/artifacts/version-cache.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, describe, expect, test } from 'vitest';
import { RegistryHarness, uploadOf } from './harness.ts';

const MIB = 1024 * 1024;
const harness = await RegistryHarness.start();
afterAll(async () => harness?.[Symbol.asyncDispose]());

describe.skipIf(!harness)('a version on its way into the cache of a replica', () => {
  test('comes in ranges at once and is what its digest says; a changed bit on the way is DATA_LOSS', async () => {
    const client = harness!.client();
    const content = randomBytes(40 * MIB + 123);
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    await client.createModel({ name: 'large', kind: Kind.BASE });
    await client.createVersion({ name: 'large' });
    const header = { name: 'large', version: '1.0.0', path: 'model.safetensors', digest };
    await client.uploadArtifact(uploadOf(header, content, MIB));
    const version = { name: 'large', version: '1.0.0' };
    const file = { path: header.path, digest, sizeBytes: content.length };
    const ranges: number[] = [];
    const reader = registryReader(client, version, undefined);
    const read: typeof reader = (one, offset, length, signal) => {
      ranges.push(offset);
      return reader(one, offset, length, signal);
    };
    const { signal } = new AbortController();
    const cacheIn = (name: string) =>
      new VersionCache(join(harness!.folder, name), { limitBytes: 1024 * MIB, keepMs: 60_000 });
    const folder = await cacheIn('cache').folder([file], read, signal);
    expect(readFileSync(join(folder, header.path)).equals(content)).toBe(true);
    expect(ranges.sort((a, b) => a - b)).toEqual([0, 16 * MIB, 32 * MIB]);

    const blob = join(harness!.artifacts, 'sha256', digest.slice(7, 9), digest.slice(9));
    const bytes = readFileSync(blob);
    bytes[20 * MIB]! ^= 4;
    writeFileSync(blob, bytes);
    await expect(cacheIn('other').folder([file], read, signal)).rejects.toMatchObject({
      code: status.DATA_LOSS,
    });
    expect(readdirSync(join(harness!.folder, 'other', 'blobs'))).toEqual([]);
  });
});
