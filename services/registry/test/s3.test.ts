import { existsSync } from 'node:fs';
import { S3Server } from '@landfall/common/test/s3-server.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, describe, expect, test } from 'vitest';
import { baseFiles } from './fixtures.ts';
import { download, RegistryHarness, register, until } from './harness.ts';

const s3 = await S3Server.start();
const harness = await RegistryHarness.start({
  LANDFALL_ARTIFACTS_URL: s3.url('landfall'),
  LANDFALL_COLLECT_AFTER_MS: '200',
  LANDFALL_KEEP_DELETED_MS: '0',
});
afterAll(async () => {
  await harness?.[Symbol.asyncDispose]();
  await s3[Symbol.asyncDispose]();
});

describe.skipIf(!harness)('a registry whose content lies in a bucket', () => {
  test('takes, checks, gives out and collects content as it does on disk', async () => {
    const client = harness!.client();
    const files = baseFiles();
    const first = await register(client, 'bucket', Kind.BASE, files);
    await register(client, 'bucket', Kind.BASE, baseFiles(1));
    const weights = files.get('model.safetensors')!;
    const request = { name: 'bucket', version: '1.0.0', path: 'model.safetensors' };
    expect((await download(client, request)).equals(weights)).toBe(true);
    const part = await download(client, { ...request, offset: 100n, length: 200n });
    expect(part.equals(weights.subarray(100, 300))).toBe(true);
    expect(existsSync(harness!.artifacts)).toBe(false);
    const { digest } = first.manifest!.files.find(({ path }) => path === 'model.safetensors')!;
    const object = `${s3.folder}/artifacts/landfall/sha256/${digest.slice(7, 9)}/${digest.slice(9)}._S3rver_object`;
    expect(existsSync(object)).toBe(true);
    await harness!.life().deleteVersion({ name: 'bucket', version: '1.0.0' });
    await until(() => !existsSync(object), 'the weights of the purged version are collected');
    expect((await download(client, { ...request, version: '1.1.0' })).length).toBe(weights.length);
  });
});
