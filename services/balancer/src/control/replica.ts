import { LandfallError } from '@landfall/common/errors/errors.ts';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import type { ReplicaRow } from '../db/entities.ts';
import type { ReplicaExit, RunningReplica } from '../runtime/runtime.ts';
import { type BackoffLimits, backoffMs } from './backoff.ts';
import type { ReplicaLink } from './replica-link.ts';

/** Where an adapter is on one replica. */
interface AdapterState {
  state: 'loading' | 'loaded' | 'failed';
  failures: number;
  /** When a failed one is tried again, in milliseconds since 1970. */
  notBeforeMs: number;
  problem: string;
}

/** That a replica which serves is to be replaced before its time. */
export interface Retirement {
  /** For people. */
  reason: string;
  /** It ends without waiting for the one that takes its place. */
  urgent: boolean;
}

const LOADED: AdapterState = { state: 'loaded', failures: 0, notBeforeMs: 0, problem: '' };

/** One replica of a set: its process, what is heard of it, and the adapters it was told to load. */
export class Replica {
  readonly row: ReplicaRow;
  readonly running: RunningReplica;
  readonly link: ReplicaLink;
  draining: boolean;
  /** Its end, once it was decided; resolves when the process is gone. */
  ending: Promise<void> | undefined;
  exit: ReplicaExit | undefined;
  retirement: Retirement | undefined;
  /** When it first answered, in milliseconds since 1970; 0 before. */
  readySinceMs = 0;
  readonly #adapters = new Map<string, AdapterState>();
  readonly #retry: BackoffLimits;

  constructor(row: ReplicaRow, running: RunningReplica, link: ReplicaLink, retry: BackoffLimits) {
    this.row = row;
    this.running = running;
    this.link = link;
    this.draining = row.draining;
    this.#retry = retry;
  }

  get ready(): boolean {
    return !this.draining && this.exit === undefined && this.link.healthy;
  }

  get state(): EndpointState {
    if (this.draining) return EndpointState.DRAINING;
    if (this.ready) return EndpointState.READY;
    return this.readySinceMs > 0 || this.exit ? EndpointState.FAILED : EndpointState.STARTING;
  }

  /** Whether it can answer for a model: the base, or an adapter that it was told to load or holds anyway. */
  serves(model: string): boolean {
    return this.ready && (this.holds(model) || this.#adapters.get(model)?.state === 'loaded');
  }

  /** Whether an adapter is in its memory by its own last word; it may have made room for others since it loaded it. */
  holds(model: string): boolean {
    return model === this.row.base || this.link.load?.adapters.includes(model) === true;
  }

  /** Adapters that it was told to load; what it holds anyway, where it was told nothing yet (it was adopted). */
  get placed(): ReadonlySet<string> {
    return new Set(this.#adapters.size > 0 ? this.#adapters.keys() : this.link.load?.adapters);
  }

  /** Why an adapter is not there; empty for nothing known. */
  problem(model: string): string {
    return this.#adapters.get(model)?.problem ?? '';
  }

  /**
   * Loads adapters that are wanted, each once, and drops those that are wanted no more; failures are repeated after
   * a growing pause.
   * @param changed called when one has been loaded, or could not be
   * @returns when a failed one is due, in milliseconds since 1970; Infinity for none
   */
  keepAdapters(wanted: ReadonlySet<string>, changed: () => void): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const model of [...this.#adapters.keys()]) {
      if (wanted.has(model) || this.#adapters.get(model)?.state === 'loading') continue;
      this.#adapters.delete(model);
      // Best effort: it only frees memory, and waits for the adapter's last request.
      if (this.ready) this.link.unloadAdapter(model).catch(() => {});
    }
    if (!this.ready) return nextMs;
    const nowMs = Date.now();
    for (const model of wanted) {
      const known = this.#adapters.get(model);
      if (known && known.state !== 'failed') continue;
      if (!known && this.holds(model)) {
        this.#adapters.set(model, LOADED);
        continue;
      }
      if (known && known.notBeforeMs > nowMs) nextMs = Math.min(nextMs, known.notBeforeMs);
      else void this.#load(model, known?.failures ?? 0).then(changed);
    }
    return nextMs;
  }

  async #load(model: string, failures: number): Promise<void> {
    this.#adapters.set(model, { state: 'loading', failures, notBeforeMs: 0, problem: '' });
    try {
      await this.link.loadAdapter(model);
      this.#adapters.set(model, LOADED);
    } catch (error) {
      const told = error instanceof LandfallError ? error.message : 'the call failed';
      this.#adapters.set(model, {
        state: 'failed',
        failures: failures + 1,
        notBeforeMs: Date.now() + backoffMs(failures + 1, this.#retry),
        problem: `${model} can not be loaded: ${told}`,
      });
    }
  }
}
