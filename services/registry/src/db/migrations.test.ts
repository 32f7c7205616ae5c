import { join } from 'node:path';
import { Database } from '@landfall/common/db/database.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { v7 as uuidv7 } from 'uuid';
import { afterAll, expect, test } from 'vitest';
import { ModelEntity, registryEntities, VersionEntity } from './entities.ts';
import { registryMigrations } from './migrations.ts';

const place = await testDatabase();
afterAll(async () => place?.[Symbol.asyncDispose]());

test.skipIf(!place)('a registry from before there were lives and a catalog is carried over', async () => {
  const options = {
    service: 'registry',
    url: place!.url,
    file: join(place!.folder, 'registry.sqlite'),
    entities: registryEntities,
  };
  const [model, version] = [uuidv7(), uuidv7()];
  {
    await using before = await Database.open({ ...options, migrations: registryMigrations.slice(0, 2) });
    const em = before.fork();
    await em.execute('insert into model values (?, ?, ?, ?, ?, ?, ?)', [
      model,
      'acme',
      'old',
      'base',
      '',
      '{}',
      1,
    ]);
    await em.execute(
      `insert into version (id, model_id, tenant, name, version, precedence, kind, state, description, digest,
         metrics, base, job_id, method, labels, created_ms, ready_ms, parent)
       values (?, ?, 'acme', 'old', '1.0.0', '00', 'base', 'ready', '', 'sha256:0', '{"bleu":4}', '', '', '', '{}', 1, 2, '')`,
      [version, model],
    );
  }
  await using after = await Database.open({ ...options, migrations: registryMigrations });
  const em = after.fork();
  expect(await em.findOneOrFail(ModelEntity, { id: model })).toMatchObject({ name: 'old', revision: 0 });
  expect(await em.findOneOrFail(VersionEntity, { id: version })).toMatchObject({
    metrics: { bleu: 4 },
    stage: 'development',
    license: '',
    tags: [],
    deletedMs: null,
    described: false,
  });
});
