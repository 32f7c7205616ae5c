import { AsyncLocalStorage } from 'node:async_hooks';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClientOptions } from '@landfall/common/rpc/client.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { BalancerConfig } from '../config.ts';
import type { Deployment, ReplicaRow } from '../db/entities.ts';
import { allDeployments } from '../domain/deployments.ts';
import { ReplicaStore } from '../domain/replica-store.ts';
import type { ResolvedModel, Served } from '../domain/resolve.ts';
import { runtimeOf, runtimeSettings } from '../domain/variant.ts';
import { deploymentStopped, unknownRuntime } from '../errors.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { DeploymentTable, deploymentKey } from './deployment-table.ts';
import { FindingsWriter } from './findings-writer.ts';
import { Pulse } from './pulse.ts';
import { type Demand, ReplicaSet } from './replica-set.ts';
import { nextOf, rolesOf, type Share, servedBy, shareOf } from './roles.ts';
import { Scaler } from './scaler.ts';
import type { Supply } from './status.ts';

export interface FleetOptions {
  config: BalancerConfig;
  database: Database;
  /** Where replicas run, by the names that deployments give. */
  runtimes: ReadonlyMap<string, Runtime>;
  rpc: RpcClientOptions;
  logger: Logger;
}

const NOTHING: Supply = {
  answering: 0,
  ready: 0,
  running: 0,
  copies: Number.POSITIVE_INFINITY,
  problem: '',
};

const setKey = (tenant: string, { base, variant }: Pick<Served, 'base' | 'variant'>) =>
  `${tenant}\n${base}\n${variant}`;

/**
 * All deployments and the replica sets behind them. The database is the truth; what was read of it is kept here, so
 * that replicas are kept also while the database is away.
 */
export class Fleet {
  /** Beats when anything that callers see has changed: a deployment, an endpoint's state, a load. */
  readonly pulse = new Pulse();
  readonly deployments = new DeploymentTable();
  readonly #scaler = new Scaler();
  readonly #options: FleetOptions;
  readonly #store: ReplicaStore;
  readonly #findings: FindingsWriter;
  readonly #sets = new Map<string, ReplicaSet>();
  /** Control loops and links outlive the calls that set them going, so they belong to none of their traces. */
  readonly #detached = AsyncLocalStorage.snapshot();
  /** Begins when all that outlived an earlier balancer is known: until then nothing is missing. */
  #started = false;
  #stopped = false;
  readonly #timers: NodeJS.Timeout[] = [];

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#store = new ReplicaStore(options.database);
    this.#findings = new FindingsWriter({
      database: options.database,
      logger: options.logger,
      table: this.deployments,
      supplyOf: (tenant) => this.#supplyOf(tenant),
      written: (row) => this.apply(row),
    });
  }

  /** Reads what was declared, adopts the replicas that outlived an earlier balancer, and begins to keep them. */
  async start(): Promise<void> {
    const { database, config } = this.#options;
    for (const row of await allDeployments(database)) this.deployments.apply(row);
    await Promise.all((await this.#store.all()).map((row) => this.#adopt(row)));
    for (const row of this.deployments.all()) {
      for (const served of servedBy(row)) this.#set(row.tenant, served);
    }
    this.#started = true;
    this.#triggerAll();
    this.#every(config.resyncMs, () => this.#triggerAll());
    this.#every(config.scaleMs, () => {
      for (const row of this.deployments.all()) this.#scale(row);
    });
  }

  /** Ends the control loops, and the replicas too unless they are to be left for the next balancer. */
  async stop(replicas: 'stop' | 'leave'): Promise<void> {
    this.#stopped = true;
    this.#findings.stop();
    for (const timer of this.#timers) clearInterval(timer);
    const sets = [...this.#sets.values()];
    await Promise.all(sets.map((set) => (replicas === 'stop' ? set.stop() : set.leave())));
  }

  /** Takes a deployment as it was written; an older state never overwrites a newer one. */
  apply(row: Deployment): void {
    const { taken, before } = this.deployments.apply(row);
    if (!taken) return;
    if (row.state === 'stopped') this.#scaler.forget(deploymentKey(row));
    for (const served of [...servedBy(row), ...(before ? servedBy(before) : [])]) {
      this.#set(row.tenant, served).trigger();
    }
    this.pulse.emit();
  }

  /** The replicas that serve a model: those of its base, with the settings that are given or with any. */
  endpoints(tenant: string, { model, base, variant }: ResolvedModel & Partial<Served>): Endpoint[] {
    if (variant !== undefined)
      return this.#sets.get(setKey(tenant, { base, variant }))?.endpoints(model) ?? [];
    const ofBase = `${tenant}\n${base}\n`;
    const sets = [...this.#sets].filter(([key]) => key.startsWith(ofBase));
    return sets.flatMap(([, set]) => set.endpoints(model));
  }

  /** What gets a share of a deployment's calls, where something does. */
  share(row: Deployment): Share | undefined {
    return shareOf(row, this.#supplyOf(row.tenant));
  }

  /** What there is for a model. */
  supply(tenant: string, served: Served): Supply {
    return this.#supplyOf(tenant)(served);
  }

  /** Why a replica of a deployment was replaced last, for people; empty for none since this balancer began. */
  lastReplacement(row: Deployment): string {
    return this.#sets.get(setKey(row.tenant, row))?.lastReplacement ?? '';
  }

  /** @throws LandfallError FAILED_PRECONDITION for settings that name a runtime that is not here */
  checkRuntime(variant: string): void {
    const runtime = runtimeOf(variant);
    if (!this.#options.runtimes.has(runtime)) throw unknownRuntime(runtime);
  }

  /** A caller asks for deployments: those that sleep wake. */
  asked(rows: readonly Deployment[]): void {
    for (const row of rows) {
      this.#scaler.asked(deploymentKey(row));
      if (row.replicas === 0) this.#scale(row);
    }
  }

  /** A caller follows deployments until the release is called: those that sleep wake, and none goes to sleep. */
  watched(rows: readonly Deployment[]): () => void {
    const releases = rows.map((row) => this.#scaler.watched(deploymentKey(row)));
    this.asked(rows);
    return () => {
      for (const release of releases) release();
    };
  }

  /** Why a deployment has as many replicas as it has. */
  scalingReason(row: Deployment): string {
    return this.#scaler.reason(deploymentKey(row));
  }

  /**
   * Resolves when the deployment is READY as it was declared.
   * @throws LandfallError NOT_FOUND when it is stopped meanwhile; the signal's reason
   */
  async whenReady(tenant: string, name: string, signal: AbortSignal): Promise<Deployment> {
    // Who waits for it asks for it: it does not go to sleep before it has answered.
    const release = this.#scaler.watched(deploymentKey({ tenant, name }));
    try {
      for (;;) {
        signal.throwIfAborted();
        const row = this.deployments.peek(tenant, name);
        if (!row) throw deploymentStopped(name);
        if (row.state === 'ready' && !row.nextModel) return row;
        await this.pulse.next(signal);
      }
    } finally {
      release();
    }
  }

  async #adopt(row: ReplicaRow): Promise<void> {
    const { runtimes, logger } = this.#options;
    const { tenant, base, variant, id } = row;
    const runtime = runtimes.get(runtimeOf(variant));
    const running = await runtime?.adopt({ ...row, settings: runtimeSettings(variant) });
    const set = runtime && this.#set(tenant, row);
    const facts = { base, replica: id, replica_pid: running?.pid ?? row.pid };
    logger.info(facts, running ? 'a replica is adopted' : 'a replica has not outlived the last balancer');
    if (running && set) {
      const known = { ...row, pid: running.pid, mark: running.mark };
      if (row.pid !== running.pid) await this.#store.update(id, { pid: running.pid, mark: running.mark });
      await set.adopt(known, running);
    } else {
      set?.missed(row);
      await this.#store.delete(id);
    }
  }

  #demand(tenant: string, key: string): Demand {
    let wanted = 0;
    const adapters = new Set<string>();
    for (const row of this.deployments.ofTenant(tenant)) {
      for (const role of rolesOf(row, this.#supplyOf(tenant))) {
        if (setKey(tenant, role) !== key) continue;
        wanted = Math.max(wanted, role.replicas);
        if (role.model !== role.base) adapters.add(role.model);
      }
    }
    return { wanted, adapters };
  }

  #supplyOf(tenant: string): (served: Served) => Supply {
    return (served) => this.#sets.get(setKey(tenant, served))?.supply(served.model) ?? NOTHING;
  }

  #set(tenant: string, { base, variant }: Pick<Served, 'base' | 'variant'>): ReplicaSet {
    const key = setKey(tenant, { base, variant });
    let set = this.#sets.get(key);
    if (!set) {
      const { config, runtimes, rpc, logger } = this.#options;
      set = new ReplicaSet({
        tenant,
        base,
        variant,
        config: config.replica,
        runtime: runtimes.get(runtimeOf(variant))!,
        store: this.#store,
        detached: this.#detached,
        rpc,
        logger,
        demand: () => this.#demand(tenant, key),
        onChange: () => this.#setChanged(key, tenant),
      });
      this.#sets.set(key, set);
    }
    return set;
  }

  #setChanged(key: string, tenant: string): void {
    if (!this.#started || this.#stopped) return;
    for (const row of this.deployments.ofTenant(tenant)) {
      const served = servedBy(row);
      if (!served.some((each) => setKey(tenant, each) === key)) continue;
      this.#findings.review(deploymentKey(row));
      // What one set of a rollout has tells how many replicas the other is to have.
      for (const each of row.nextModel ? served : []) {
        const other = this.#sets.get(setKey(tenant, each));
        if (other && !other.isUpToDate) other.trigger();
      }
    }
    if (this.#sets.get(key)?.idle) this.#sets.delete(key);
    this.pulse.emit();
  }

  #triggerAll(): void {
    for (const set of this.#sets.values()) set.trigger();
  }

  #every(ms: number, work: () => void): void {
    this.#timers.push(setInterval(work, ms).unref());
  }

  #scale(row: Deployment): void {
    if (this.#stopped) return;
    const { tenant, name } = row;
    const keys = new Set([row, nextOf(row)].flatMap((each) => (each ? [setKey(tenant, each)] : [])));
    const loads = [...keys].flatMap((each) => this.#sets.get(each)?.loads() ?? []);
    const change = this.#scaler.look(deploymentKey(row), row, loads);
    if (!change) return;
    this.#options.logger.info({ tenant, name, ...change }, 'replicas follow their load');
    this.#findings.scale(row, change);
  }
}
