import { startPostgresCluster } from '@landfall/common/db/postgres-cluster.ts';
import { ensureNatsServer } from '@landfall/deploy/mesh/nats-binary.ts';

/**
 * Before all tests: the broker's program is there (installed from the distribution's packages where it can be), and with
 * LANDFALL_TEST_DATABASE=postgres one cluster serves all files, each with a database of its own.
 */
export default async function setup(): Promise<(() => Promise<void>) | undefined> {
  ensureNatsServer();
  if (process.env.LANDFALL_TEST_DATABASE !== 'postgres' || process.env.LANDFALL_TEST_POSTGRES_URL)
    return undefined;
  const cluster = await startPostgresCluster();
  if (!cluster) {
    process.stdout.write(
      'skipped: tests on PostgreSQL, since no server binaries (initdb, postgres) were found\n',
    );
    return undefined;
  }
  process.env.LANDFALL_TEST_POSTGRES_URL = cluster.url;
  return async () => {
    await cluster[Symbol.asyncDispose]();
  };
}
