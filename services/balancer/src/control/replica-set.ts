import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClientOptions } from '@landfall/common/rpc/client.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { ReplicaConfig } from '../config.ts';
import type { ReplicaRow } from '../db/entities.ts';
import type { ReplicaStore } from '../domain/replica-store.ts';
import { runtimeSettings } from '../domain/variant.ts';
import { awaitEnd } from '../runtime/end-replica.ts';
import { NoMemoryError, type ReplicaExit, type RunningReplica, type Runtime } from '../runtime/runtime.ts';
import type { BackoffLimits } from './backoff.ts';
import { endpointReply } from './endpoint-reply.ts';
import { placeAdapters } from './placement.ts';
import { planReplicas } from './plan.ts';
import { Replica } from './replica.ts';
import { ReplicaLink } from './replica-link.ts';
import { Slots } from './slots.ts';
import type { Supply } from './status.ts';

/** What deployments ask of a replica set together. */
export interface Demand {
  /** Replicas: the most that any of them wants. */
  wanted: number;
  /** Adapters that the replicas are to have: each all of them, where they fit. */
  adapters: ReadonlySet<string>;
}

export interface ReplicaSetOptions {
  tenant: string;
  /** `models:/name/version` */
  base: string;
  /** Settings of the replicas; see domain/variant.ts. */
  variant: string;
  config: ReplicaConfig;
  runtime: Runtime;
  store: ReplicaStore;
  /** Runs work outside of whatever call is being answered. */
  detached: (work: () => void) => void;
  rpc: RpcClientOptions;
  logger: Logger;
  demand: () => Demand;
  /** Something that callers or deployments see has changed. */
  onChange: () => void;
}

const NO_ADAPTERS: ReadonlySet<string> = new Set();
const RETRY_MS = 1000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/**
 * The replicas of one base within one tenant, kept as many as its deployments want. One pass at a time compares what
 * is with what should be and starts what brings the two together; whatever happens (a process ends, health changes,
 * a deployment changes, a pause is over) only asks for another pass.
 */
export class ReplicaSet {
  readonly #options: ReplicaSetOptions;
  readonly #replicas = new Map<string, Replica>();
  readonly #slots: Slots;
  readonly #backoff: BackoffLimits;
  /** Rows of replicas that have ended and could not be deleted yet. */
  readonly #endedRows = new Set<string>();
  #problem = '';
  /** Replicas that the last pass worked towards. */
  #pursued = -1;
  #copies: ReadonlyMap<string, number> = new Map();
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ReplicaSetOptions) {
    this.#options = options;
    const { firstBackoffMs, longestBackoffMs, stableMs } = options.config;
    this.#backoff = { firstMs: firstBackoffMs, longestMs: longestBackoffMs };
    this.#slots = new Slots(this.#backoff, stableMs);
  }

  /** Nothing runs, and nothing is wanted. */
  get idle(): boolean {
    const busy = this.#running || this.#replicas.size > 0 || this.#endedRows.size > 0;
    return !busy && this.#options.demand().wanted === 0;
  }

  /** Whether the last pass worked towards what is wanted now. */
  get isUpToDate(): boolean {
    return this.#options.demand().wanted === this.#pursued;
  }

  /** Takes over a replica that an earlier balancer started. Resolves when it is known whether it answers now. */
  async adopt(row: ReplicaRow, running: RunningReplica): Promise<void> {
    const replica = this.#add(row, running);
    await replica.link.known;
    if (!row.draining) return;
    // One that still takes requests was not told yet; told twice, a process ends at once.
    replica.ending = replica.link.healthy
      ? this.#end(replica, 0)
      : awaitEnd(running, this.#options.config.graceMs);
  }

  /** A replica of an earlier balancer that did not outlive it. */
  missed({ slot, restarts, draining }: ReplicaRow): void {
    if (!draining) this.#slots.filled(slot, restarts + 1);
  }

  /** Asks for a pass. */
  trigger(): void {
    if (this.#stopped) return;
    this.#again = true;
    this.#options.detached(() => {
      this.#running ??= this.#loop();
    });
  }

  supply(model: string): Supply {
    const replicas = [...this.#replicas.values()].filter((replica) => !replica.draining);
    const copies = this.#copies.get(model) ?? Number.POSITIVE_INFINITY;
    const full = copies === 0 && replicas.length > 0;
    const problem = full
      ? `no replica has room for ${model}: all places for adapters are taken`
      : replicas.map((replica) => replica.problem(model)).find((text) => text !== '');
    return {
      answering: replicas.filter(({ ready }) => ready).length,
      copies,
      ready: replicas.filter((replica) => replica.serves(model)).length,
      running: replicas.length,
      problem: problem ?? this.#problem,
    };
  }

  /** The replicas as callers see them, by place. */
  endpoints(model: string): Endpoint[] {
    return [...this.#replicas.values()]
      .sort((a, b) => a.row.slot - b.row.slot)
      .map((replica) => endpointReply(replica, model));
  }

  /** Loads of the replicas that answer. */
  loads(): Load[] {
    const ready = [...this.#replicas.values()].filter((replica) => replica.ready);
    return ready.map(({ link }) => link.load).filter((load) => load !== undefined);
  }

  /** Ends the passes and stops listening to the replicas, which stay as they are. */
  async leave(): Promise<void> {
    await this.#halt();
    for (const { link, running } of this.#replicas.values()) {
      link.close();
      running.forget();
    }
  }

  /** Ends the passes, then every replica: asked first, killed after the grace period. */
  async stop(): Promise<void> {
    await this.#halt();
    const replicas = [...this.#replicas.values()];
    for (const replica of replicas) replica.ending ??= this.#end(replica, 0);
    await Promise.all(replicas.map(({ ending }) => ending));
    for (const { link, row } of replicas) {
      link.close();
      await this.#deleteRow(row.id).catch((error) => {
        // The next balancer finds that the process is gone.
        this.#options.logger.warn(
          { err: error, replica: row.id },
          'the row of a replica could not be deleted',
        );
      });
    }
    this.#replicas.clear();
  }

  async #halt(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  async #loop(): Promise<void> {
    while (this.#again && !this.#stopped) {
      this.#again = false;
      clearTimeout(this.#timer);
      try {
        const nextMs = await this.#pass();
        this.#wakeAt(nextMs);
      } catch (error) {
        const { logger, tenant, base } = this.#options;
        logger.warn({ err: error, tenant, base, retry_ms: RETRY_MS }, 'the replicas could not be seen to');
        this.#wakeAt(Date.now() + RETRY_MS);
      }
    }
    this.#running = undefined;
    if (!this.#stopped) this.#options.onChange();
  }

  #wakeAt(ms: number): void {
    if (this.#stopped || !Number.isFinite(ms)) return;
    this.#timer = setTimeout(() => this.trigger(), Math.min(Math.max(1, ms - Date.now()), LONGEST_TIMER_MS));
    this.#timer.unref();
  }

  /** @returns when something is due without an event, in milliseconds since 1970 */
  async #pass(): Promise<number> {
    const { wanted, adapters } = this.#options.demand();
    this.#pursued = wanted;
    await this.#bury();
    let nextMs = this.#endUnresponsive();
    const planned = [...this.#replicas.values()].map(({ row, ready, draining }) => ({
      id: row.id,
      slot: row.slot,
      ready,
      draining,
    }));
    const plan = planReplicas(wanted, planned, (slot) => this.#slots.notBeforeMs(slot), Date.now());
    for (const id of plan.drain) this.#drain(this.#replicas.get(id)!);
    for (const slot of plan.start) if (!this.#stopped) await this.#start(slot);
    const places = this.#place(adapters);
    for (const replica of this.#replicas.values()) {
      if (replica.ready && replica.readySinceMs === 0) this.#greet(replica);
      const own = places.get(replica.row.id) ?? NO_ADAPTERS;
      nextMs = Math.min(
        nextMs,
        replica.keepAdapters(own, () => this.trigger()),
      );
    }
    return Math.min(nextMs, plan.nextMs);
  }

  /** Adapters of each replica. */
  #place(adapters: ReadonlySet<string>): ReadonlyMap<string, ReadonlySet<string>> {
    const replicas = [...this.#replicas.values()].filter(({ draining, exit }) => !draining && !exit);
    const slots = this.#options.config.adapterSlots;
    const placed = replicas.map(({ row, placed: held }) => ({ id: row.id, adapters: held }));
    const { byReplica, copies } = placeAdapters(adapters, placed, slots);
    // Where all fit, a replica that is still to come will hold them too.
    this.#copies = adapters.size > slots ? copies : new Map();
    return byReplica;
  }

  #greet(replica: Replica): void {
    const { id, slot, createdMs, pid } = replica.row;
    replica.readySinceMs = Date.now();
    this.#problem = '';
    const { logger, base } = this.#options;
    const start_ms = Date.now() - createdMs;
    logger.info({ base, replica: id, slot, replica_pid: pid, start_ms }, 'a replica answers');
  }

  async #start(slot: number): Promise<void> {
    const { tenant, base, variant, runtime, store, logger } = this.#options;
    const address = await runtime.place();
    const row: ReplicaRow = {
      id: randomUUID(),
      tenant,
      base,
      variant,
      slot,
      address,
      pid: 0,
      mark: '',
      restarts: this.#slots.restarts(slot),
      draining: false,
      createdMs: Date.now(),
    } as ReplicaRow;
    // Written first: a balancer that dies in the next moment leaves a process that the next one can find by its id.
    await store.insert(row);
    let running: RunningReplica;
    try {
      running = await runtime.start({
        id: row.id,
        tenant,
        base,
        address,
        settings: runtimeSettings(variant),
      });
    } catch (error) {
      logger.error({ err: error, base, slot }, 'a replica can not be started');
      this.#slots.failed(slot, 0);
      const why = error instanceof NoMemoryError ? error.message : 'the log of the balancer tells why';
      this.#problem = `replicas can not be started; ${why}`;
      await this.#deleteRow(row.id);
      return;
    }
    Object.assign(row, { pid: running.pid, mark: running.mark });
    this.#add(row, running);
    logger.info({ base, replica: row.id, slot, replica_pid: running.pid, address }, 'a replica is started');
    await store.update(row.id, { pid: row.pid, mark: row.mark });
  }

  #add(row: ReplicaRow, running: RunningReplica): Replica {
    const { tenant, base, rpc, logger, config } = this.#options;
    const link = new ReplicaLink({
      address: row.address,
      base,
      identity: { subject: 'service:balancer', tenant, role: Role.SERVICE },
      rpc,
      logger,
      healthIntervalMs: config.healthIntervalMs,
      healthTimeoutMs: config.healthTimeoutMs,
      onHealth: () => {
        this.#options.onChange();
        this.trigger();
      },
      onLoad: this.#options.onChange,
    });
    const replica = new Replica(row, running, link, this.#backoff);
    this.#slots.filled(row.slot, row.restarts);
    this.#replicas.set(row.id, replica);
    void running.exited.then((exit) => {
      replica.exit = exit;
      this.#options.onChange();
      this.trigger();
    });
    return replica;
  }

  /** Strikes out replicas that have ended, and gives their places a pause. */
  async #bury(): Promise<void> {
    for (const [id, replica] of this.#replicas) {
      if (!replica.exit) continue;
      replica.link.close();
      this.#replicas.delete(id);
      this.#endedRows.add(id);
      if (!replica.draining) this.#lost(replica, replica.exit);
    }
    for (const id of [...this.#endedRows]) await this.#deleteRow(id);
  }

  async #deleteRow(id: string): Promise<void> {
    this.#endedRows.add(id);
    await this.#options.store.delete(id);
    this.#endedRows.delete(id);
  }

  #lost({ row, readySinceMs }: Replica, { code, signal }: ReplicaExit): void {
    const { logger, base } = this.#options;
    const servedMs = readySinceMs > 0 ? Date.now() - readySinceMs : 0;
    const failures = this.#slots.failed(row.slot, servedMs);
    this.#slots.filled(row.slot, row.restarts + 1);
    const how = signal ?? (code === null ? 'unknown' : `code ${code}`);
    this.#problem = servedMs > 0 ? '' : `replicas end before they answer (${how}); their log tells why`;
    const facts = { base, replica: row.id, slot: row.slot, replica_pid: row.pid, code, signal };
    logger.warn({ ...facts, served_ms: servedMs, failures }, 'a replica has ended and is replaced');
  }

  /** Kills what hangs, or is not what was meant. @returns when the next one would be due */
  #endUnresponsive(): number {
    const { config, logger, base } = this.#options;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { row, running, link, ready, draining, exit, readySinceMs } of this.#replicas.values()) {
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

  #drain(replica: Replica): void {
    const { store, logger, base, config } = this.#options;
    const noticeMs = replica.ready ? config.drainNoticeMs : 0;
    replica.draining = true;
    this.#options.onChange();
    logger.info({ base, replica: replica.row.id, replica_pid: replica.row.pid }, 'a replica is drained');
    store.update(replica.row.id, { draining: true }).catch((error) => {
      logger.warn({ err: error, replica: replica.row.id }, 'the draining of a replica could not be noted');
    });
    replica.ending = this.#end(replica, noticeMs);
  }

  /** Asks a replica to end and makes sure that it does. */
  async #end({ running }: Replica, noticeMs: number): Promise<void> {
    if (noticeMs > 0) await delay(noticeMs);
    running.terminate();
    await awaitEnd(running, this.#options.config.graceMs);
  }
}
