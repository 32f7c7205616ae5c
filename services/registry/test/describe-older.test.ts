import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Database } from '@landfall/common/db/database.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { afterAll, describe, expect, test } from 'vitest';
import { registryEntities, VersionEntity } from '../src/db/entities.ts';
import { registryMigrations } from '../src/db/migrations.ts';
import { forgetVersion } from '../src/domain/catalog.ts';
import { baseFiles } from './fixtures.ts';
import { RegistryHarness, register, until } from './harness.ts';

const harness = await RegistryHarness.start();
afterAll(async () => harness?.[Symbol.asyncDispose]());

describe.skipIf(!harness)('versions from before there was a catalog', () => {
  test('are described at the next start, also where a file of one is lost', async () => {
    const files = baseFiles();
    files.set('README.md', Buffer.from('---\nlicense: mit\n---\n高血压'));
    const sound = await register(harness!.client(), 'older', Kind.BASE, files);
    const lost = await register(harness!.client(), 'older-lost', Kind.BASE, baseFiles(9));
    await harness!.stopService();
    {
      await using database = await Database.open({
        service: 'registry',
        url: harness!.env.LANDFALL_DATABASE_URL!,
        file: join(harness!.folder, 'registry', 'registry.sqlite'),
        entities: registryEntities,
        migrations: registryMigrations,
      });
      await database.transaction(async (em) => {
        for (const { id } of [sound, lost]) {
          await forgetVersion(em, id);
          await em.nativeUpdate(VersionEntity, { id }, { described: false, license: '', tags: [] });
        }
      });
    }
    const { digest } = lost.manifest!.files.find(({ path }) => path === 'model.safetensors')!;
    rmSync(join(harness!.artifacts, 'sha256', digest.slice(7, 9), digest.slice(9)));
    await harness!.startService();
    const catalog = harness!.catalog();
    const found = async (text: string) =>
      (await catalog.searchVersions({ text })).versions.map(({ name }) => name);
    await until(async () => (await found('高血压')).includes('older'), 'the older version is found');
    await until(
      async () => (await found('lost')).includes('older-lost'),
      'the damaged one is found by its name',
    );
    const { card } = await catalog.getModelCard({ name: 'older' });
    expect(card).toMatchObject({ version: { license: 'mit' }, facts: { model_type: 'llama' } });
    expect((await catalog.getModelCard({ name: 'older-lost' })).card!.facts).toEqual({});
  });
});
