import { createLogger } from '@landfall/common/log/logger.ts';
import type { BalancerConfig } from './config.ts';
import { ReplicaStore } from './domain/replica-store.ts';
import { runtimeSettings } from './domain/variant.ts';
import { awaitEnd } from './runtime/end-replica.ts';
import { childProcesses, openDatabase } from './service.ts';

/**
 * Ends the replicas that a killed balancer has left, and forgets them; those that are no longer what was started are
 * left alone. Only for a mesh whose balancer does not run: a running one would start others in their place.
 * @returns how many were ended
 */
export async function sweepReplicas(config: BalancerConfig): Promise<number> {
  const logger = createLogger(config.name, config.logLevel);
  await using database = await openDatabase(config);
  const store = new ReplicaStore(database);
  const runtime = childProcesses(config);
  const ends = (await store.all()).map(async (row) => {
    const running = await runtime.adopt({ ...row, settings: runtimeSettings(row.variant) });
    if (running) {
      running.terminate();
      await awaitEnd(running, config.replica.graceMs);
      logger.info({ replica: row.id, replica_pid: running.pid }, 'a replica that was left is ended');
    }
    await store.delete(row.id);
    return running ? 1 : 0;
  });
  const counts: number[] = await Promise.all(ends);
  return counts.reduce((sum, count) => sum + count, 0);
}
