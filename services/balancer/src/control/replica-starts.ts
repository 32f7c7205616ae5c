import { randomUUID } from 'node:crypto';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClientOptions } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { ReplicaConfig } from '../config.ts';
import type { ReplicaRow } from '../db/entities.ts';
import type { ReplicaStore } from '../domain/replica-store.ts';
import { runtimeSettings } from '../domain/variant.ts';
import { NoMemoryError, type RunningReplica, type Runtime } from '../runtime/runtime.ts';
import { Replica } from './replica.ts';
import { ReplicaLink } from './replica-link.ts';

export interface ReplicaStartsOptions {
  tenant: string;
  /** `models:/name/version` */
  base: string;
  /** Settings of the replicas; see domain/variant.ts. */
  variant: string;
  config: ReplicaConfig;
  runtime: Runtime;
  store: ReplicaStore;
  rpc: RpcClientOptions;
  logger: Logger;
}

/** A replica could not be started; the message is for people. */
export class StartError extends Error {
  override name = 'StartError';
  /** Id of its row, which is to be struck out. */
  readonly replica: string;

  constructor(replica: string, message: string, cause: unknown) {
    super(message, { cause });
    this.replica = replica;
  }
}

/** Starts replicas of a set, and listens to them. */
export class ReplicaStarts {
  readonly #options: ReplicaStartsOptions;

  constructor(options: ReplicaStartsOptions) {
    this.#options = options;
  }

  /**
   * Starts a replica in a place.
   * @param restarts times that the place was filled anew
   * @param started called with the replica as soon as its process runs
   * @throws StartError where its runtime can't
   */
  async start(
    slot: number,
    restarts: number,
    started: (row: ReplicaRow, running: RunningReplica) => void,
  ): Promise<void> {
    const { tenant, base, variant, runtime, store, logger } = this.#options;
    const address = await runtime.place();
    const row: ReplicaRow = {
      id: randomUUID(),
      ...{ tenant, base, variant, slot, address, restarts },
      pid: 0,
      mark: '',
      draining: false,
      createdMs: Date.now(),
    } as ReplicaRow;
    // Written first: a balancer that dies in the next moment leaves a process that the next one can find by its id.
    await store.insert(row);
    let running: RunningReplica;
    try {
      const settings = runtimeSettings(variant);
      running = await runtime.start({ id: row.id, tenant, base, address, settings });
    } catch (error) {
      logger.error({ err: error, base, slot }, 'a replica can not be started');
      const why = error instanceof NoMemoryError ? error.message : 'the log of the balancer tells why';
      throw new StartError(row.id, `replicas can not be started; ${why}`, error);
    }
    Object.assign(row, { pid: running.pid, mark: running.mark });
    started(row, running);
    logger.info({ base, replica: row.id, slot, replica_pid: running.pid, address }, 'a replica is started');
    await store.update(row.id, { pid: row.pid, mark: row.mark });
  }

  /** A replica that runs, listened to from here on. */
  listen(row: ReplicaRow, running: RunningReplica, on: { health: () => void; load: () => void }): Replica {
    const { tenant, base, rpc, logger, config } = this.#options;
    const link = new ReplicaLink({
      address: row.address,
      base,
      identity: { subject: 'service:balancer', tenant, role: Role.SERVICE },
      rpc,
      logger,
      healthIntervalMs: config.healthIntervalMs,
      healthTimeoutMs: config.healthTimeoutMs,
      onHealth: on.health,
      onLoad: on.load,
    });
    const { firstBackoffMs, longestBackoffMs } = config;
    return new Replica(row, running, link, { firstMs: firstBackoffMs, longestMs: longestBackoffMs });
  }
}
