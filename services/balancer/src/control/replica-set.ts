import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClientOptions } from '@landfall/common/rpc/client.ts';
import type { Endpoint } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { ReplicaConfig } from '../config.ts';
import type { ReplicaRow } from '../db/entities.ts';
import type { ReplicaStore } from '../domain/replica-store.ts';
import { awaitEnd } from '../runtime/end-replica.ts';
import type { ReplicaExit, RunningReplica, Runtime } from '../runtime/runtime.ts';
import { endpointReply } from './endpoint-reply.ts';
import { MemoryLimit } from './memory-limit.ts';
import { PassLoop } from './pass-loop.ts';
import { placeAdapters } from './placement.ts';
import { planReplicas } from './plan.ts';
import type { Replica } from './replica.ts';
import { ReplicaEnds } from './replica-ends.ts';
import { ReplicaStarts, StartError } from './replica-starts.ts';
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

/**
 * The replicas of one base within one tenant, kept as many as its deployments want. One pass at a time compares what
 * is with what should be and starts what brings the two together; whatever happens (a process ends, health changes,
 * a deployment changes, a pause is over) only asks for another pass.
 */
export class ReplicaSet {
  readonly #options: ReplicaSetOptions;
  readonly #replicas = new Map<string, Replica>();
  readonly #slots: Slots;
  readonly #starts: ReplicaStarts;
  readonly #ends: ReplicaEnds;
  readonly #memory: MemoryLimit;
  readonly #loop: PassLoop;
  #problem = '';
  #lastReplacement = '';
  /** Replicas that the last pass worked towards. */
  #pursued = -1;
  #copies: ReadonlyMap<string, number> = new Map();

  constructor(options: ReplicaSetOptions) {
    this.#options = options;
    const { config, logger, tenant, base, onChange } = options;
    const { firstBackoffMs, longestBackoffMs, stableMs, memoryMs } = config;
    this.#slots = new Slots({ firstMs: firstBackoffMs, longestMs: longestBackoffMs }, stableMs);
    this.#starts = new ReplicaStarts(options);
    this.#ends = new ReplicaEnds(options);
    this.#memory = new MemoryLimit({ ...options, intervalMs: memoryMs });
    this.#loop = new PassLoop({
      pass: () => this.#pass(),
      detached: options.detached,
      onFailure: (error, retryMs) => {
        const facts = { err: error, tenant, base, retry_ms: retryMs };
        logger.warn(facts, 'the replicas could not be seen to');
      },
      onIdle: onChange,
    });
  }

  /** Nothing runs, and nothing is wanted. */
  get idle(): boolean {
    const busy = this.#loop.isRunning || this.#replicas.size > 0 || !this.#ends.areDone;
    return !busy && this.#options.demand().wanted === 0;
  }

  /** Whether the last pass worked towards what is wanted now. */
  get isUpToDate(): boolean {
    return this.#options.demand().wanted === this.#pursued;
  }

  /** Why a replica was replaced last, for people; empty where none was. */
  get lastReplacement(): string {
    return this.#lastReplacement;
  }

  /** Takes over a replica that an earlier balancer started. Resolves when it is known whether it answers now. */
  async adopt(row: ReplicaRow, running: RunningReplica): Promise<void> {
    const replica = this.#add(row, running);
    await replica.link.known;
    if (!row.draining) return;
    // One that still takes requests was not told yet; told twice, a process ends at once.
    replica.ending = replica.link.healthy
      ? this.#ends.end(replica, 0)
      : awaitEnd(running, this.#options.config.graceMs);
  }

  /** A replica of an earlier balancer that did not outlive it. */
  missed({ slot, restarts, draining }: ReplicaRow): void {
    if (!draining) this.#slots.filled(slot, restarts + 1);
  }

  /** Asks for a pass. */
  trigger(): void {
    this.#loop.trigger();
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
    await this.#loop.halt();
    for (const { link, running } of this.#replicas.values()) {
      link.close();
      running.forget();
    }
  }

  /** Ends the passes, then every replica: asked first, killed after the grace period. */
  async stop(): Promise<void> {
    await this.#loop.halt();
    const replicas = [...this.#replicas.values()];
    for (const replica of replicas) replica.ending ??= this.#ends.end(replica, 0);
    await Promise.all(replicas.map(({ ending }) => ending));
    for (const { link, row } of replicas) {
      link.close();
      await this.#ends.strike(row.id).catch((error) => {
        // The next balancer finds that the process is gone.
        const facts = { err: error, replica: row.id };
        this.#options.logger.warn(facts, 'the row of a replica could not be deleted');
      });
    }
    this.#replicas.clear();
  }

  /** @returns when something is due without an event, in milliseconds since 1970 */
  async #pass(): Promise<number> {
    const { wanted, adapters } = this.#options.demand();
    this.#pursued = wanted;
    await this.#bury();
    const replicas = () => this.#replicas.values();
    let nextMs = Math.min(
      this.#ends.killUnresponsive(replicas()),
      this.#memory.look(replicas(), (replica) => this.#retire(replica)),
    );
    const planned = [...replicas()].map(({ row, ready, draining, retirement }) => ({
      ...{ id: row.id, slot: row.slot, ready, draining },
      retiring: retirement && (retirement.urgent ? ('urgent' as const) : ('replaced' as const)),
    }));
    const plan = planReplicas(wanted, planned, (slot) => this.#slots.notBeforeMs(slot), Date.now());
    for (const id of plan.drain) this.#drain(this.#replicas.get(id)!);
    for (const slot of plan.start) if (!this.#loop.isHalted) await this.#start(slot);
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
    try {
      await this.#starts.start(slot, this.#slots.restarts(slot), (row, running) => this.#add(row, running));
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      this.#slots.failed(slot, 0);
      this.#problem = error.message;
      await this.#ends.strike(error.replica);
    }
  }

  #add(row: ReplicaRow, running: RunningReplica): Replica {
    const changed = () => {
      this.#options.onChange();
      this.trigger();
    };
    const replica = this.#starts.listen(row, running, { health: changed, load: this.#options.onChange });
    this.#slots.filled(row.slot, row.restarts);
    this.#replicas.set(row.id, replica);
    void running.exited.then((exit) => {
      replica.exit = exit;
      changed();
    });
    return replica;
  }

  /** Another one takes its place, which waits the longer the sooner it comes to that. */
  #retire({ row, retirement, readySinceMs }: Replica): void {
    this.#slots.failed(row.slot, readySinceMs > 0 ? Date.now() - readySinceMs : 0);
    this.#slots.filled(row.slot, row.restarts + 1);
    this.#replaced(row, retirement!.reason);
    this.#options.onChange();
  }

  #drain(replica: Replica): void {
    if (replica.retirement?.urgent) this.#problem = `a replica is replaced: ${replica.retirement.reason}`;
    this.#ends.drain(replica);
    this.#options.onChange();
  }

  #replaced({ id }: ReplicaRow, reason: string): void {
    this.#lastReplacement = `${new Date().toISOString()}: replica ${id}: ${reason}`;
  }

  /** Strikes out replicas that have ended, and gives their places a pause. */
  async #bury(): Promise<void> {
    for (const [id, replica] of this.#replicas) {
      if (!replica.exit) continue;
      replica.link.close();
      this.#replicas.delete(id);
      this.#ends.note(id);
      if (!replica.draining) this.#lost(replica, replica.exit);
    }
    await this.#ends.finish();
  }

  #lost({ row, readySinceMs, retirement }: Replica, { code, signal }: ReplicaExit): void {
    const { logger, base } = this.#options;
    const servedMs = readySinceMs > 0 ? Date.now() - readySinceMs : 0;
    const how = signal ?? (code === null ? 'unknown' : `code ${code}`);
    const facts = { base, replica: row.id, slot: row.slot, replica_pid: row.pid, code, signal };
    if (retirement) {
      // Its place is another's already.
      logger.warn({ ...facts, served_ms: servedMs }, 'a replica has ended before it was replaced');
      return;
    }
    const failures = this.#slots.failed(row.slot, servedMs);
    this.#slots.filled(row.slot, row.restarts + 1);
    this.#problem = servedMs > 0 ? '' : `replicas end before they answer (${how}); their log tells why`;
    this.#replaced(row, `its process has ended (${how})`);
    logger.warn({ ...facts, served_ms: servedMs, failures }, 'a replica has ended and is replaced');
  }
}
