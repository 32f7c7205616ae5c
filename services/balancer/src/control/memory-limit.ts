import type { Logger } from '@landfall/common/log/logger.ts';
import type { ReplicaStore } from '../domain/replica-store.ts';
import { runtimeSettings } from '../domain/variant.ts';
import type { Replica, Retirement } from './replica.ts';

/** Looks in a row that must find a replica above its limit: what is given back at once is no reason. */
const LOOKS = 2;
/** So many times its limit no replacement is waited for. */
const URGENT = 1.25;

/**
 * What is to become of a replica by its resident memory.
 * @param above looks in a row that found it above its limit, this one included
 */
export function verdictOn(residentMib: number, limitMib: number, above: number): Retirement | undefined {
  if (residentMib <= limitMib || above < LOOKS) return undefined;
  const reason = `its process holds ${Math.round(residentMib)} MiB, ${limitMib} MiB were declared`;
  return { reason, urgent: residentMib > URGENT * limitMib };
}

export interface MemoryLimitOptions {
  tenant: string;
  base: string;
  variant: string;
  intervalMs: number;
  store: ReplicaStore;
  logger: Logger;
}

/** Watches the memory of a set's replicas, where their deployments declare how much they need. */
export class MemoryLimit {
  readonly #options: MemoryLimitOptions;
  readonly #limitMib: number;
  readonly #above = new WeakMap<Replica, number>();
  #lookMs = 0;

  constructor(options: MemoryLimitOptions) {
    this.#options = options;
    this.#limitMib = runtimeSettings(options.variant).memoryMib;
  }

  /**
   * Looks at all replicas, when it is time.
   * @param retired called with each that is to be replaced from now on
   * @returns when the next look is due; Infinity where there is no limit
   */
  look(replicas: Iterable<Replica>, retired: (replica: Replica) => void, nowMs = Date.now()): number {
    const { intervalMs } = this.#options;
    if (this.#limitMib === 0) return Number.POSITIVE_INFINITY;
    if (nowMs < this.#lookMs) return this.#lookMs;
    this.#lookMs = nowMs + intervalMs;
    for (const replica of replicas) {
      if (replica.draining || replica.exit) continue;
      const residentMib = replica.running.residentMib() ?? 0;
      const above = residentMib > this.#limitMib ? (this.#above.get(replica) ?? 0) + 1 : 0;
      this.#above.set(replica, above);
      const verdict = verdictOn(residentMib, this.#limitMib, above);
      if (!verdict) continue;
      const isNew = replica.retirement === undefined;
      // One that was to serve until it is replaced may have no time for that any more.
      replica.retirement = { ...verdict, urgent: verdict.urgent || replica.retirement?.urgent === true };
      if (!isNew) continue;
      this.#tell(replica, verdict.reason, residentMib);
      retired(replica);
    }
    return this.#lookMs;
  }

  #tell({ row }: Replica, reason: string, residentMib: number): void {
    const { tenant, base, store, logger } = this.#options;
    const facts = { tenant, base, replica: row.id, reason };
    logger.warn({ ...facts, replica_pid: row.pid }, 'a replica is replaced');
    const memory = { residentMib: BigInt(Math.round(residentMib)), limitMib: BigInt(this.#limitMib) };
    store.announceReplaced({ ...facts, ...memory }).catch((error) => {
      logger.warn({ err: error, replica: row.id }, 'the replacement of a replica could not be announced');
    });
  }
}
