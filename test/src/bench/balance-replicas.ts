import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { Load } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { writeTokenizer } from '../../../services/text-inference/test/tiny-model.ts';

const WATCH_MS = 250;
const identity = { subject: 'service:bench', tenant: 'default', role: Role.SERVICE };

/** Replicas as processes, a client that balances over them, and between both what the balancer's stream would tell. */
export class BenchReplicas implements AsyncDisposable {
  readonly client: BalancedClient;
  readonly #stack: AsyncDisposableStack;

  static async start(count: number, environment: Record<string, string>): Promise<BenchReplicas> {
    const stack = new AsyncDisposableStack();
    try {
      const folder = mkdtempSync(join(tmpdir(), 'landfall-bench-'));
      stack.defer(() => rmSync(folder, { recursive: true, force: true }));
      const keyFile = join(folder, 'mesh.key');
      const key = randomBytes(48);
      writeFileSync(keyFile, key, { mode: 0o600 });
      writeTokenizer(join(folder, 'base'));
      const signer = new IdentitySigner(key);
      const starts = Array.from({ length: count }, (_, i) => startReplica(folder, i, keyFile, environment));
      const started = await Promise.all(starts);
      for (const { child } of started) stack.defer(() => end(child));
      const logger = createLogger('bench', 'warn');
      const balancer = new RpcServer({ signer, logger });
      const addresses = started.map(({ address }) => address);
      const watch = new LoadWatch(addresses, signer);
      stack.defer(() => watch.close());
      balancer.add(BalancerService, { watchEndpoints: (_request, call) => watch.endpoints(call.signal) });
      const port = await balancer.listen('127.0.0.1', 0);
      stack.defer(() => balancer.drain(0));
      const client = new BalancedClient({
        ...{ balancerUrl: `127.0.0.1:${port}`, service: 'bench', logger },
        rpc: { signer, identity },
      });
      stack.use(client);
      return new BenchReplicas(client, stack.move());
    } finally {
      await stack.disposeAsync();
    }
  }

  private constructor(client: BalancedClient, stack: AsyncDisposableStack) {
    this.client = client;
    this.#stack = stack;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function startReplica(
  folder: string,
  index: number,
  keyFile: string,
  environment: Record<string, string>,
): Promise<{ child: ChildProcess; address: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'balance-replica.ts')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH ?? '',
      LANDFALL_HOME: join(folder, `home-${index}`),
      LANDFALL_MODEL_FOLDER: join(folder, 'base'),
      LANDFALL_MESH_KEY_FILE: keyFile,
      LANDFALL_LISTEN: '127.0.0.1:0',
      LANDFALL_NATS_URL: 'nats://127.0.0.1:1',
      LANDFALL_METRICS_PORT: '-1',
      LANDFALL_LOG_LEVEL: 'silent',
      LANDFALL_END_WITH_PARENT: 'true',
      LANDFALL_GRACE_MS: '1000',
      ...environment,
    },
  });
  const lines = createInterface(child.stdout!);
  const [line] = (await Promise.race([once(lines, 'line'), once(child, 'exit').then(() => [undefined])])) as [
    string | undefined,
  ];
  if (!line) throw new Error('a replica of the bench ended before it answered');
  return { child, address: (JSON.parse(line) as { address: string }).address };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  await gone;
}

/** Follows the loads of replicas, and tells them four times a second at most, as the balancer does. */
class LoadWatch {
  readonly #addresses: readonly string[];
  readonly #channels: RpcChannel[];
  readonly #loads: (Load | undefined)[];
  readonly #stopping = new AbortController();

  constructor(addresses: readonly string[], signer: IdentitySigner) {
    this.#addresses = addresses;
    this.#loads = addresses.map(() => undefined);
    this.#channels = addresses.map((address) => new RpcChannel(address, { signer, identity }));
    for (const [at, channel] of this.#channels.entries()) void this.#follow(at, channel);
  }

  async *endpoints(signal: AbortSignal): AsyncGenerator<object> {
    const both = AbortSignal.any([signal, this.#stopping.signal]);
    while (!both.aborted) {
      const endpoints = this.#addresses.map((address, i) => {
        const load = this.#loads[i];
        return { id: address, address, state: EndpointState.READY, weight: 1, adapterLoaded: true, load };
      });
      yield { endpoints, model: 'models:/local/0.0.0', base: 'models:/local/0.0.0' };
      await delay(WATCH_MS, undefined, { signal: both }).catch(() => {});
    }
  }

  close(): void {
    this.#stopping.abort();
    for (const channel of this.#channels) channel.close();
  }

  async #follow(at: number, channel: RpcChannel): Promise<void> {
    const { signal } = this.#stopping;
    try {
      const loads = channel.client(TextInferenceService).watchLoad({ intervalMs: WATCH_MS }, { signal });
      for await (const { load } of loads) this.#loads[at] = load;
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
