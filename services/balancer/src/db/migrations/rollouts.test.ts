import { Database } from '@landfall/common/db/database.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { expect, test, vi } from 'vitest';
import { allDeployments } from '../../domain/deployments.ts';
import { historyOf } from '../../domain/history.ts';
import { ReplicaStore } from '../../domain/replica-store.ts';
import { balancerEntities } from '../entities.ts';
import { initialMigration } from './initial.ts';
import { rolloutsMigration } from './rollouts.ts';

vi.setConfig({ testTimeout: 60_000 });

test('deployments and replicas of old keep what they had, and may be scaled to none', async (t) => {
  await using home = await testDatabase();
  if (!home) return t.skip();
  const open = (migrations: (typeof initialMigration)[]) =>
    Database.open({
      service: 'balancer',
      url: home.url,
      file: `${home.folder}/balancer.sqlite`,
      entities: balancerEntities,
      migrations,
    });
  const old = await open([initialMigration]);
  const write = (sql: string) => old.read((em) => em.getConnection().execute(sql));
  await write(`insert into deployment values ('acme', 'qa', 'models:/a/1.0.0', 'models:/b/1.0.0', '', '', 3, 2,
    'degraded', true, '2 of 3 replicas answer', 7, 1700000000000)`);
  await write(
    `insert into replica values ('r-1', 'acme', 'models:/b/1.0.0', 0, '127.0.0.1:1', 12, 'mark', 1, false, 5)`,
  );
  await old[Symbol.asyncDispose]();

  await using database = await open([initialMigration, rolloutsMigration]);
  const [row] = await allDeployments(database);
  expect(row).toMatchObject({
    model: 'models:/a/1.0.0',
    variant: '',
    replicas: 3,
    minReplicas: 3,
    maxReplicas: 3,
    generation: 1,
    revision: 7,
    state: 'degraded',
    wasReady: true,
    createdMs: 1_700_000_000_000,
  });
  const history = await database.read((em) => historyOf(em, 'acme', 'qa'));
  expect(history).toMatchObject([{ generation: 1, model: 'models:/a/1.0.0', reason: 'deployed' }]);
  expect(await new ReplicaStore(database).all()).toMatchObject([{ id: 'r-1', variant: '', restarts: 1 }]);
  await database.read((em) => em.getConnection().execute('update deployment set replicas = 0'));
  expect((await allDeployments(database))[0]!.replicas).toBe(0);
});
