import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClientOptions } from '@landfall/common/rpc/client.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { BalancerConfig } from '../config.ts';
import type { Deployment, ReplicaRow } from '../db/entities.ts';
import { allDeployments, writeFindings } from '../domain/deployments.ts';
import { ReplicaStore } from '../domain/replica-store.ts';
import type { ResolvedModel, Served } from '../domain/resolve.ts';
import { runtimeOf, runtimeSettings } from '../domain/variant.ts';
import { deploymentNotFound, deploymentStopped, unknownRuntime } from '../errors.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Pulse } from './pulse.ts';
import { type Demand, ReplicaSet } from './replica-set.ts';
import { nextOf, rolesOf, type Share, servedBy, shareOf } from './roles.ts';
import { Scaler, type ScalingChange, withChange } from './scaler.ts';
import { deploymentStatus, type Supply, statusDiffers } from './status.ts';

export interface FleetOptions {
  config: BalancerConfig;
  database: Database;
  /** Where replicas run, by the names that deployments give. */
  runtimes: ReadonlyMap<string, Runtime>;
  rpc: RpcClientOptions;
  logger: Logger;
}

const REWRITE_MS = 1000;
const NOTHING: Supply = {
  answering: 0,
  ready: 0,
  running: 0,
  copies: Number.POSITIVE_INFINITY,
  problem: '',
};

const keyOf = (tenant: string, name: string) => `${tenant}\n${name}`;
const setKey = (tenant: string, { base, variant }: Pick<Served, 'base' | 'variant'>) =>
  `${tenant}\n${base}\n${variant}`;

/**
 * All deployments and the replica sets behind them. The database is the truth; what was read of it is kept here, so
 * that replicas are kept also while the database is away.
 */
export class Fleet {
  /** Beats when anything that callers see has changed: a deployment, an endpoint's state, a load. */
  readonly pulse = new Pulse();
  readonly scaler = new Scaler();
  readonly #options: FleetOptions;
  readonly #store: ReplicaStore;
  readonly #deployments = new Map<string, Deployment>();
  readonly #sets = new Map<string, ReplicaSet>();
  /** Deployments whose findings are being written. */
  readonly #writing = new Set<string>();
  /** Changes of replicas that are to be written. */
  readonly #scaling = new Map<string, ScalingChange>();
  /** Control loops and links outlive the calls that set them going, so they belong to none of their traces. */
  readonly #detached = AsyncLocalStorage.snapshot();
  /** Begins when all that outlived an earlier balancer is known: until then nothing is missing. */
  #started = false;
  #stopped = false;
  readonly #timers: NodeJS.Timeout[] = [];

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#store = new ReplicaStore(options.database);
  }

  /** Reads what was declared, adopts the replicas that outlived an earlier balancer, and begins to keep them. */
  async start(): Promise<void> {
    const { database, config } = this.#options;
    for (const row of await allDeployments(database)) {
      if (row.state !== 'stopped') this.#deployments.set(keyOf(row.tenant, row.name), row);
    }
    await Promise.all((await this.#store.all()).map((row) => this.#adopt(row)));
    for (const row of this.#deployments.values()) {
      for (const served of servedBy(row)) this.#set(row.tenant, served);
    }
    this.#started = true;
    this.#triggerAll();
    this.#every(config.resyncMs, () => this.#triggerAll());
    this.#every(config.scaleMs, () => {
      for (const row of this.#deployments.values()) this.#scale(row);
    });
  }

  /** Ends the control loops, and the replicas too unless they are to be left for the next balancer. */
  async stop(replicas: 'stop' | 'leave'): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    const sets = [...this.#sets.values()];
    await Promise.all(sets.map((set) => (replicas === 'stop' ? set.stop() : set.leave())));
  }

  /** Takes a deployment as it was written; an older state never overwrites a newer one. */
  apply(row: Deployment): void {
    const { tenant, name, state } = row;
    const key = keyOf(tenant, name);
    const known = this.#deployments.get(key);
    if (known && known.revision >= row.revision) return;
    if (state === 'stopped') {
      this.#deployments.delete(key);
      this.scaler.forget(key);
    } else this.#deployments.set(key, row);
    for (const served of [...servedBy(row), ...(known ? servedBy(known) : [])]) {
      this.#set(tenant, served).trigger();
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

  /** A running deployment. @throws LandfallError NOT_FOUND */
  find(tenant: string, name: string): Deployment {
    const row = this.#deployments.get(keyOf(tenant, name));
    if (!row) throw deploymentNotFound(name);
    return row;
  }

  /** A running deployment; undefined for none. */
  peek(tenant: string, name: string): Deployment | undefined {
    return this.#deployments.get(keyOf(tenant, name));
  }

  /** Running deployments that follow an alias, of a tenant or of all. */
  following(tenant?: string): Deployment[] {
    const rows = [...this.#deployments.values()];
    return rows.filter((row) => row.alias !== '' && (tenant === undefined || row.tenant === tenant));
  }

  /** Running deployments of a tenant that serve a model, or a base's other models too. */
  serving(tenant: string, model: string): Deployment[] {
    const rows = [...this.#deployments.values()].filter((row) => row.tenant === tenant);
    return rows.filter((row) => servedBy(row).some((each) => each.model === model || each.base === model));
  }

  /** The base that serves a model, where a deployment tells; undefined otherwise. */
  resolve(tenant: string, model: string): ResolvedModel | undefined {
    for (const row of this.serving(tenant, model)) {
      const { base } = servedBy(row).find((each) => each.model === model || each.base === model)!;
      return { model, base };
    }
    return undefined;
  }

  /** @throws LandfallError FAILED_PRECONDITION for settings that name a runtime that is not here */
  checkRuntime(variant: string): void {
    const runtime = runtimeOf(variant);
    if (!this.#options.runtimes.has(runtime)) throw unknownRuntime(runtime);
  }

  /** A caller asks for deployments: those that sleep wake. */
  asked(rows: readonly Deployment[]): void {
    for (const row of rows) {
      this.scaler.asked(keyOf(row.tenant, row.name));
      if (row.replicas === 0) this.#scale(row);
    }
  }

  /** A caller follows deployments until the release is called: those that sleep wake, and none goes to sleep. */
  watched(rows: readonly Deployment[]): () => void {
    const releases = rows.map(({ tenant, name }) => this.scaler.watched(keyOf(tenant, name)));
    this.asked(rows);
    return () => {
      for (const release of releases) release();
    };
  }

  /** Why a deployment has as many replicas as it has. */
  scalingReason({ tenant, name }: Deployment): string {
    return this.scaler.reason(keyOf(tenant, name));
  }

  /**
   * Resolves when the deployment is READY as it was declared.
   * @throws LandfallError NOT_FOUND when it is stopped meanwhile; the signal's reason
   */
  async whenReady(tenant: string, name: string, signal: AbortSignal): Promise<Deployment> {
    for (;;) {
      signal.throwIfAborted();
      const row = this.#deployments.get(keyOf(tenant, name));
      if (!row) throw deploymentStopped(name);
      if (row.state === 'ready' && !row.nextModel) return row;
      await this.pulse.next(signal);
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
    for (const row of this.#deployments.values()) {
      if (row.tenant !== tenant) continue;
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
    for (const row of this.#deployments.values()) {
      const served = row.tenant === tenant ? servedBy(row) : [];
      if (!served.some((each) => setKey(tenant, each) === key)) continue;
      this.#review(keyOf(tenant, row.name));
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
    const key = keyOf(tenant, name);
    const keys = new Set([row, nextOf(row)].flatMap((each) => (each ? [setKey(tenant, each)] : [])));
    const loads = [...keys].flatMap((each) => this.#sets.get(each)?.loads() ?? []);
    const change = this.scaler.look(key, row, loads);
    if (!change) return;
    this.#options.logger.info({ tenant, name, ...change }, 'replicas follow their load');
    this.#scaling.set(key, change);
    this.#review(key);
  }

  #review(key: string): void {
    // A write that is under way looks again when it is done.
    if (!this.#writing.has(key) && this.#due(key)) void this.#write(key);
  }

  /** What is to be written of a deployment, where it is not what stands. */
  #due(key: string) {
    const row = this.#deployments.get(key);
    if (!row || this.#stopped) return undefined;
    const supply = this.#supplyOf(row.tenant);
    const change = this.#scaling.get(key);
    // It was decided for another number of replicas than there is now: the next look decides anew.
    if (change && change.from === row.replicas) {
      const wasReady = row.wasReady && change.to < change.from;
      const state = change.to > change.from ? { state: 'progressing' as const } : {};
      return {
        row,
        findings: { replicas: change.to, decisions: withChange(row, change), wasReady, ...state },
      };
    }
    this.#scaling.delete(key);
    const next = nextOf(row);
    const status = deploymentStatus(row, supply(row), next && supply(next));
    return statusDiffers(row, status) ? { row, findings: status } : undefined;
  }

  async #write(key: string): Promise<void> {
    this.#writing.add(key);
    for (let due = this.#due(key); due; due = this.#due(key)) {
      try {
        const written = await writeFindings(this.#options.database, due.row, due.findings);
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
