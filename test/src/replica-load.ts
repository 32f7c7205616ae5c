/** A mesh whose replicas are real ones over simulated steps, and callers that keep them busy. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { BASE, editor, type TestBalancer, TestMesh } from '../../services/balancer/test/mesh.ts';
import { writeTokenizer } from '../../services/text-inference/test/tiny-model.ts';

export const DEPLOYMENT = 'faults';

/** How calls went. */
export interface Tally {
  /** Begun within five seconds of the fault, and after. */
  early: number;
  late: number;
  earlyFailed: number;
  lateFailed: number;
  retries: number;
  refused: number;
  refusedWithRetryInfo: number;
  /** Codes of those that failed otherwise. */
  codes: Record<string, number>;
  latencies: number[];
}

const SETTLED_MS = 5000;

export class LoadedMesh implements AsyncDisposable {
  readonly mesh: TestMesh;
  readonly balancer: TestBalancer;
  readonly client: BalancedClient;
  readonly #retries: () => number;

  /** @returns undefined where the database that is asked for can't be had */
  static async start(replicas: number, env: Record<string, string> = {}): Promise<LoadedMesh | undefined> {
    const mesh = await TestMesh.start();
    if (!mesh) return undefined;
    const folder = join(mesh.folder, 'model');
    mkdirSync(folder);
    writeTokenizer(folder);
    const balancer = await mesh.balancer({
      LANDFALL_REPLICA_COMMAND: JSON.stringify([
        process.execPath,
        join(import.meta.dirname, 'bench/balance-replica.ts'),
      ]),
      LANDFALL_MODEL_FOLDER: folder,
      LANDFALL_GRACE_MS: '10000',
      ...env,
    });
    await balancer.client.deploy(
      { name: DEPLOYMENT, model: BASE, replicas, waitReady: true },
      { timeoutMs: 90_000 },
    );
    return new LoadedMesh(mesh, balancer);
  }

  private constructor(mesh: TestMesh, balancer: TestBalancer) {
    this.mesh = mesh;
    this.balancer = balancer;
    const logger = createLogger('test', 'silent');
    let retries = 0;
    logger.info = (_fields: unknown, message?: string) => {
      if (message === 'another replica is asked') retries++;
    };
    this.#retries = () => retries;
    this.client = mesh.balanced(balancer.address, { logger });
  }

  async pids(): Promise<number[]> {
    const { deployment } = await this.balancer.client.getDeployment({ name: DEPLOYMENT });
    return deployment!.endpoints.map(({ pid }) => Number(pid));
  }

  /** One short generation. @returns its tokens */
  async call(random: () => number, signal?: AbortSignal): Promise<number> {
    const prompt = 'x'.repeat(8 + Math.floor(random() * 24));
    const sampling = { maxTokens: 4 + Math.floor(random() * 12), ignoreEos: true };
    let tokens = 0;
    const options = { timeoutMs: 10_000, ...(signal ? { signal } : {}) };
    for await (const { usage } of this.client.generate(
      { deployment: DEPLOYMENT },
      { prompt, sampling },
      options,
    ))
      tokens = usage?.outputTokens ?? tokens;
    return tokens;
  }

  /** Calls at random moments for a while; the fault comes after a second of it. */
  async load(
    { perSecond, ms, random }: { perSecond: number; ms: number; random: () => number },
    fault: () => void,
  ): Promise<Tally> {
    const tally: Tally = {
      ...{ early: 0, late: 0, earlyFailed: 0, lateFailed: 0, retries: 0 },
      ...{ refused: 0, refusedWithRetryInfo: 0, codes: {}, latencies: [] },
    };
    const before = this.#retries();
    const startMs = Date.now();
    const faultMs = startMs + 1000;
    const calls: Promise<void>[] = [];
    let struck = false;
    for (let nextMs = startMs; nextMs < startMs + ms; ) {
      nextMs += (-Math.log(1 - random()) / perSecond) * 1000;
      await delay(Math.max(0, nextMs - Date.now()));
      if (!struck && nextMs >= faultMs) {
        struck = true;
        fault();
      }
      calls.push(this.#counted(tally, nextMs - faultMs > SETTLED_MS ? 'late' : 'early', random));
    }
    await Promise.all(calls);
    tally.retries = this.#retries() - before;
    return tally;
  }

  async #counted(tally: Tally, when: 'early' | 'late', random: () => number): Promise<void> {
    const startMs = performance.now();
    tally[when]++;
    try {
      await this.call(random);
      tally.latencies.push(performance.now() - startMs);
    } catch (error) {
      if (!(error instanceof LandfallError)) throw error;
      if (error.code === status.RESOURCE_EXHAUSTED) {
        tally.refused++;
        if (error.retryAfterMs !== undefined) tally.refusedWithRetryInfo++;
        return;
      }
      tally[`${when}Failed`]++;
      const code = status[error.code] ?? 'UNKNOWN';
      tally.codes[code] = (tally.codes[code] ?? 0) + 1;
    }
  }

  /** A replica as its own callers see it. */
  async directTo(pid: number) {
    const { deployment } = await this.balancer.client.getDeployment({ name: DEPLOYMENT });
    const endpoint = deployment!.endpoints.find((each) => Number(each.pid) === pid)!;
    return this.mesh.channel(endpoint.address, editor);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mesh[Symbol.asyncDispose]();
  }
}
