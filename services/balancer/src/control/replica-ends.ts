import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { ReplicaConfig } from '../config.ts';
import type { ReplicaStore } from '../domain/replica-store.ts';
import { awaitEnd } from '../runtime/end-replica.ts';
import type { Replica } from './replica.ts';

export interface ReplicaEndsOptions {
  base: string;
  config: ReplicaConfig;
  store: ReplicaStore;
  logger: Logger;
}

/** How replicas of a set end: drained, killed, and struck out. */
export class ReplicaEnds {
  readonly #options: ReplicaEndsOptions;
  /** Rows of replicas that have ended and could not be deleted yet. */
  readonly #rows = new Set<string>();

  constructor(options: ReplicaEndsOptions) {
    this.#options = options;
  }

  /** Whether all rows of replicas that have ended are deleted. */
  get areDone(): boolean {
    return this.#rows.size === 0;
  }

  /** Lets callers hear that it takes no more requests, asks it to end, and makes sure that it does. */
  drain(replica: Replica): void {
    const { store, logger, base, config } = this.#options;
    const { row, retirement } = replica;
    const noticeMs = replica.ready ? config.drainNoticeMs : 0;
    replica.draining = true;
    const facts = { base, replica: row.id, replica_pid: row.pid, reason: retirement?.reason };
    logger.info(facts, 'a replica is drained');
    store.update(row.id, { draining: true }).catch((error) => {
      logger.warn({ err: error, replica: row.id }, 'the draining of a replica could not be noted');
    });
    replica.ending = this.end(replica, noticeMs);
  }

  /** Asks a replica to end, and makes sure that it does. */
  async end({ running }: Replica, noticeMs: number): Promise<void> {
    if (noticeMs > 0) await delay(noticeMs);
    running.terminate();
    await awaitEnd(running, this.#options.config.graceMs);
  }

  /** Kills what hangs, or is not what was meant. @returns when the next one would be due */
  killUnresponsive(replicas: Iterable<Replica>): number {
    const { config, logger, base } = this.#options;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { row, running, link, ready, draining, exit, readySinceMs } of replicas) {
      if (ready || draining || exit) continue;
      const limitMs = readySinceMs > 0 ? config.unresponsiveMs : config.startTimeoutMs;
      const leftMs = limitMs - link.silentMs;
      if (leftMs > 0 && !link.stranger) {
        nextMs = Math.min(nextMs, Date.now() + leftMs);
        continue;
      }
      const reason = link.stranger ? 'it serves another base' : 'it does not answer';
      logger.warn({ base, replica: row.id, replica_pid: row.pid, reason }, 'a replica is killed');
      running.kill();
    }
    return nextMs;
  }

  /** Strikes out a replica that has ended. What can't be deleted now is deleted by `finish`. */
  async strike(id: string): Promise<void> {
    this.#rows.add(id);
    await this.#options.store.delete(id);
    this.#rows.delete(id);
  }

  /** Notes that a replica has ended; `finish` strikes it out. */
  note(id: string): void {
    this.#rows.add(id);
  }

  async finish(): Promise<void> {
    for (const id of [...this.#rows]) await this.strike(id);
  }
}
