import { join } from 'node:path';
import { Database } from '@landfall/common/db/database.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { expect, test } from 'vitest';
import { GrantSchema, LabelHistorySchema } from '../src/db/access-entities.ts';
import { promptEntities } from '../src/db/entities.ts';
import { promptMigrations } from '../src/db/migrations.ts';

test('prompts and labels of before rights were kept get an owner and the beginning of a history', async (t) => {
  await using place = await testDatabase();
  if (!place) return t.skip();
  const open = (migrations: typeof promptMigrations) =>
    Database.open({
      ...{ service: 'prompt', url: place.url, file: join(place.folder, 'prompt.sqlite') },
      ...{ entities: promptEntities, migrations },
    });
  const first = promptMigrations.findIndex(({ name }) => name === 'prompt-access');
  {
    await using before = await open(promptMigrations.slice(0, first));
    const run = (sql: string) => before.fork().getConnection().execute(sql);
    await run(`insert into prompt (tenant, name, description, task, latest_version, created_ms)
      values ('acme', 'old', '', 0, '1.1.0', 5)`);
    for (const [version, author] of [
      ['1.0.0', 'key:li'],
      ['1.1.0', 'key:wang'],
    ])
      await run(`insert into prompt_version (tenant, name, version, content, digest, author, created_ms)
        values ('acme', 'old', '${version}', '{}', '', '${author}', 5)`);
    await run(`insert into prompt_label (tenant, name, label, version, revision)
      values ('acme', 'old', 'live', '1.1.0', 7)`);
  }
  await using after = await open(promptMigrations);
  const em = after.fork();
  expect(await em.find(GrantSchema, {})).toMatchObject([
    { tenant: 'acme', target: 'prompts/old', grantee: 'key:li', level: 4 },
  ]);
  expect(await em.find(LabelHistorySchema, {})).toMatchObject([
    { name: 'old', label: 'live', revision: 7, fromVersion: '', toVersion: '1.1.0' },
  ]);
});
