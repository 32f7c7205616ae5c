import { setTimeout as delay } from 'node:timers/promises';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient, type RpcClientOptions } from '@landfall/common/rpc/client.ts';
import { checkHealth } from '@landfall/common/rpc/health-client.ts';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

export interface LinkOptions {
  address: string;
  /** `models:/name/version` that it must serve. */
  base: string;
  identity: Identity;
  rpc: RpcClientOptions;
  logger: Logger;
  healthIntervalMs: number;
  healthTimeoutMs: number;
  onHealth: () => void;
  onLoad: () => void;
}

/** Checks in a row that must fail before a replica that answered counts as not answering. */
const FAILURES = 2;
/** How late a timer may be on a machine that is merely busy. */
const OWN_DELAY_MS = 500;
/** A replica that does not answer yet is asked more often, for a while. */
const EAGER_MS = 100;
const EAGER_FOR_MS = 15_000;
const LOAD_INTERVAL_MS = 250;
const REWATCH_MS = 200;
const LOAD_ADAPTER_TIMEOUT_MS = 300_000;
const UNLOAD_TIMEOUT_MS = 300_000;

/** What the balancer hears of one replica: its health, its load, its adapters. */
export class ReplicaLink {
  readonly #options: LinkOptions;
  readonly #stopping = new AbortController();
  /** Made when it first answers: a connection that has failed to a process that starts would wait longer and longer. */
  #channel: RpcChannel | undefined;
  #load: Load | undefined;
  #healthy = false;
  #stranger = false;
  #silentSinceMs = Date.now();
  readonly #known = Promise.withResolvers<void>();
  #hurry = Promise.withResolvers<void>();

  constructor(options: LinkOptions) {
    this.#options = options;
    void this.#checkHealth();
  }

  get healthy(): boolean {
    return this.#healthy;
  }

  /** Whether what answers at the address serves another base: it is not the replica that was meant. */
  get stranger(): boolean {
    return this.#stranger;
  }

  /** How long it has not answered, in milliseconds; 0 while it does. */
  get silentMs(): number {
    return this.#healthy ? 0 : Date.now() - this.#silentSinceMs;
  }

  get load(): Load | undefined {
    return this.#load;
  }

  /** Resolves after the first check. */
  get known(): Promise<void> {
    return this.#known.promise;
  }

  async #check(): Promise<boolean> {
    const { address, rpc, healthTimeoutMs } = this.#options;
    const options = { tls: rpc.tls, timeoutMs: healthTimeoutMs, signal: this.#stopping.signal };
    if (!(await checkHealth(address, 'readiness', options)) || this.#stopping.signal.aborted) return false;
    return this.#load !== undefined || this.#introduce();
  }

  /** @throws LandfallError what the replica says against it. */
  async loadAdapter(model: string): Promise<void> {
    await this.#client.loadAdapter(
      { model },
      { timeoutMs: LOAD_ADAPTER_TIMEOUT_MS, signal: this.#stopping.signal },
    );
    // Its next report says so too, but comes only when its load changes.
    const load = this.#load;
    if (load && !load.adapters.includes(model)) {
      this.#load = { ...load, adapters: [...load.adapters, model] };
    }
  }

  async unloadAdapter(model: string): Promise<void> {
    await this.#client.unloadAdapter(
      { model },
      { timeoutMs: UNLOAD_TIMEOUT_MS, signal: this.#stopping.signal },
    );
  }

  get #client(): RpcClient<typeof TextInferenceService> {
    const { address, rpc, identity } = this.#options;
    this.#channel ??= new RpcChannel(address, { ...rpc, identity });
    return this.#channel.client(TextInferenceService);
  }

  close(): void {
    this.#stopping.abort();
    this.#known.resolve();
    this.#channel?.close();
  }

  /** Its first load tells whether it is who it should be. */
  async #introduce(): Promise<boolean> {
    try {
      const { load } = await this.#client.getLoad({}, { timeoutMs: this.#options.healthTimeoutMs });
      this.#stranger = load !== undefined && load.base !== '' && load.base !== this.#options.base;
      if (this.#stranger || !load) return false;
      this.#load = load;
      void this.#watchLoad();
      return true;
    } catch {
      return false;
    }
  }

  async #checkHealth(): Promise<void> {
    const { signal } = this.#stopping;
    const { healthIntervalMs, onHealth } = this.#options;
    for (let failures = 0; !signal.aborted; ) {
      const startMs = performance.now();
      const answers = await this.#check();
      if (signal.aborted) return;
      const lateMs = performance.now() - startMs - this.#options.healthTimeoutMs;
      if (answers) failures = 0;
      // A check that took longer than its own time limit tells of this process's want of time, not of the replica's.
      else if (lateMs < OWN_DELAY_MS) failures++;
      const healthy = answers || (this.#healthy && failures < FAILURES);
      if (healthy !== this.#healthy || this.#stranger) {
        this.#healthy = healthy;
        if (!healthy) this.#silentSinceMs = Date.now();
        onHealth();
      }
      this.#known.resolve();
      const eager = !answers && this.silentMs < EAGER_FOR_MS;
      const pauseMs = eager ? EAGER_MS : healthIntervalMs;
      this.#hurry = Promise.withResolvers<void>();
      const pause = delay(pauseMs, undefined, { signal, ref: false });
      await Promise.race([pause.catch(() => {}), this.#hurry.promise]);
    }
  }

  async #watchLoad(): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      try {
        for await (const { load } of this.#client.watchLoad({ intervalMs: LOAD_INTERVAL_MS }, { signal })) {
          if (!load || load.base !== this.#options.base) continue;
          this.#load = load;
          this.#options.onLoad();
        }
      } catch {
        // Not up yet, or gone: its health says which.
      }
      this.#hurry.resolve();
      await delay(REWATCH_MS, undefined, { signal, ref: false }).catch(() => {});
    }
  }
}
