import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClientOptions } from '@landfall/common/rpc/client.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { BalancerConfig } from '../config.ts';
import type { Deployment } from '../db/entities.ts';
import { allDeployments, writeStatus } from '../domain/deployments.ts';
import { ReplicaStore } from '../domain/replica-store.ts';
import type { ResolvedModel } from '../domain/resolve.ts';
import { deploymentNotFound, deploymentStopped } from '../errors.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Pulse } from './pulse.ts';
import { type Demand, ReplicaSet } from './replica-set.ts';
import { deploymentStatus, type Supply, statusDiffers } from './status.ts';

export interface FleetOptions {
  config: BalancerConfig;
  database: Database;
  runtime: Runtime;
  rpc: RpcClientOptions;
  logger: Logger;
}

const REWRITE_MS = 1000;
const NOTHING: Supply = { ready: 0, running: 0, problem: '' };

const keyOf = (tenant: string, name: string) => `${tenant}\n${name}`;

/**
 * All deployments and the replica sets behind them. The database is the truth; what was read of it is kept here, so
 * that replicas are kept also while the database is away.
 */
export class Fleet {
  /** Beats when anything that callers see has changed: a deployment, an endpoint's state, a load. */
  readonly pulse = new Pulse();
  readonly #options: FleetOptions;
  readonly #store: ReplicaStore;
  readonly #deployments = new Map<string, Deployment>();
  readonly #sets = new Map<string, ReplicaSet>();
  /** Deployments whose status is being written. */
  readonly #writing = new Set<string>();
  /** Control loops and links outlive the calls that set them going, so they belong to none of their traces. */
  readonly #detached = AsyncLocalStorage.snapshot();
  /** Begins when all that outlived an earlier balancer is known: until then nothing is missing. */
  #started = false;
  #stopped = false;
  #resync: NodeJS.Timeout | undefined;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#store = new ReplicaStore(options.database);
  }

  /** Reads what was declared, adopts the replicas that outlived an earlier balancer, and begins to keep them. */
  async start(): Promise<void> {
    const { database, runtime, logger, config } = this.#options;
    for (const row of await allDeployments(database)) {
      if (row.state !== 'stopped') this.#deployments.set(keyOf(row.tenant, row.name), row);
    }
    const adoptions = (await this.#store.all()).map(async (row) => {
      const running = await runtime.adopt(row);
      const set = this.#set(row.tenant, row.base);
      const facts = { base: row.base, replica: row.id, replica_pid: running?.pid ?? row.pid };
      logger.info(facts, running ? 'a replica is adopted' : 'a replica has not outlived the last balancer');
      if (running) {
        const known = { ...row, pid: running.pid, mark: running.mark };
        if (row.pid !== running.pid) {
          await this.#store.update(row.id, { pid: running.pid, mark: running.mark });
        }
        await set.adopt(known, running);
      } else {
        set.missed(row);
        await this.#store.delete(row.id);
      }
    });
    await Promise.all(adoptions);
    for (const { tenant, base, nextBase } of this.#deployments.values()) {
      this.#set(tenant, base);
      if (nextBase) this.#set(tenant, nextBase);
    }
    this.#started = true;
    this.#triggerAll();
    this.#resync = setInterval(() => this.#triggerAll(), config.resyncMs);
    this.#resync.unref();
  }

  /** Ends the control loops, and the replicas too unless they are to be left for the next balancer. */
  async stop(replicas: 'stop' | 'leave'): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#resync);
    const sets = [...this.#sets.values()];
    await Promise.all(sets.map((set) => (replicas === 'stop' ? set.stop() : set.leave())));
  }

  /** Takes a deployment as it was written; an older state never overwrites a newer one. */
  apply(row: Deployment): void {
    const { tenant, name, base, nextBase, state } = row;
    const key = keyOf(tenant, name);
    const known = this.#deployments.get(key);
    if (known && known.revision >= row.revision) return;
    if (state === 'stopped') this.#deployments.delete(key);
    else this.#deployments.set(key, row);
    const bases = new Set([base, nextBase, known?.base, known?.nextBase].filter((b) => b));
    for (const each of bases) this.#set(tenant, each!).trigger();
    this.pulse.emit();
  }

  /** The replicas that serve a deployment's model, or those of any model's base. */
  endpoints(tenant: string, { model, base }: ResolvedModel): Endpoint[] {
    return this.#sets.get(keyOf(tenant, base))?.endpoints(model) ?? [];
  }

  /** A running deployment. @throws LandfallError NOT_FOUND */
  find(tenant: string, name: string): Deployment {
    const row = this.#deployments.get(keyOf(tenant, name));
    if (!row) throw deploymentNotFound(name);
    return row;
  }

  /** The base that serves a model, where a deployment tells; undefined otherwise. */
  resolve(tenant: string, model: string): ResolvedModel | undefined {
    for (const { tenant: owner, model: served, base } of this.#deployments.values()) {
      if (owner === tenant && (served === model || base === model)) return { model, base };
    }
    return undefined;
  }

  /**
   * Resolves when the deployment is READY as it was declared.
   * @throws LandfallError NOT_FOUND when it is stopped meanwhile; the signal's reason
   */
  async ready(tenant: string, name: string, signal: AbortSignal): Promise<Deployment> {
    for (;;) {
      signal.throwIfAborted();
      const row = this.#deployments.get(keyOf(tenant, name));
      if (!row) throw deploymentStopped(name);
      if (row.state === 'ready' && !row.nextModel) return row;
      await this.pulse.next(signal);
    }
  }

  #demand(tenant: string, base: string): Demand {
    let wanted = 0;
    const adapters = new Set<string>();
    for (const row of this.#deployments.values()) {
      if (row.tenant !== tenant) continue;
      for (const [model, modelBase] of [
        [row.model, row.base],
        [row.nextModel, row.nextBase],
      ] as const) {
        if (modelBase !== base) continue;
        wanted = Math.max(wanted, row.replicas);
        if (model !== base) adapters.add(model);
      }
    }
    return { wanted, adapters };
  }

  #set(tenant: string, base: string): ReplicaSet {
    const key = keyOf(tenant, base);
    let set = this.#sets.get(key);
    if (!set) {
      const { config, runtime, rpc, logger } = this.#options;
      set = new ReplicaSet({
        tenant,
        base,
        config: config.replica,
        runtime,
        store: this.#store,
        detached: this.#detached,
        rpc,
        logger,
        demand: () => this.#demand(tenant, base),
        onChange: () => this.#setChanged(key, tenant, base),
      });
      this.#sets.set(key, set);
    }
    return set;
  }

  #setChanged(key: string, tenant: string, base: string): void {
    if (!this.#started || this.#stopped) return;
    for (const row of this.#deployments.values()) {
      if (row.tenant === tenant && (row.base === base || row.nextBase === base)) this.#review(row);
    }
    if (this.#sets.get(key)?.idle) this.#sets.delete(key);
    this.pulse.emit();
  }

  #triggerAll(): void {
    for (const set of this.#sets.values()) set.trigger();
  }

  #review({ tenant, name }: Deployment): void {
    const key = keyOf(tenant, name);
    // A write that is under way looks again when it is done.
    if (!this.#writing.has(key) && this.#due(key)) void this.#write(key);
  }

  /** The status to be written, where it is not the one that stands. */
  #due(key: string) {
    const row = this.#deployments.get(key);
    if (!row || this.#stopped) return undefined;
    const supply = (base: string, model: string) =>
      this.#sets.get(keyOf(row.tenant, base))?.supply(model) ?? NOTHING;
    const next = row.nextModel ? supply(row.nextBase, row.nextModel) : undefined;
    const status = deploymentStatus(row, supply(row.base, row.model), next);
    return statusDiffers(row, status) ? { row, status } : undefined;
  }

  async #write(key: string): Promise<void> {
    this.#writing.add(key);
    for (let due = this.#due(key); due; due = this.#due(key)) {
      try {
        const written = await writeStatus(this.#options.database, due.row, due.status);
        if (written) this.apply(written);
        else this.#deployments.delete(key);
      } catch (error) {
        const { tenant, name } = due.row;
        this.#options.logger.warn({ err: error, tenant, name }, 'the state of a deployment is written again');
        await delay(REWRITE_MS, undefined, { ref: false });
      }
    }
    this.#writing.delete(key);
  }
}
