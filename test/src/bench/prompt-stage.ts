import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { FinishReason } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { TENANT } from './prompt-fill.ts';

/** Tokens of an answer and the time between two, as of a small model: what a stream is made of is not measured here. */
const TOKENS = 24;
const TOKEN_MS = 2;

/** What the prompt service needs around it, and services on demand. */
export interface Stage extends AsyncDisposable {
  start(
    kind: 'with-log' | 'without-log',
    databaseUrl: string,
    home: string,
  ): Promise<RpcClient<typeof PromptService>>;
}

const key = 'a bench needs a key of thirty-two bytes at least';

export async function stage(folder: string): Promise<Stage> {
  const running = new AsyncDisposableStack();
  const nats = running.use(await startNatsServer({ folder: join(folder, 'nats') }));
  const keyFile = join(folder, 'mesh.key');
  writeFileSync(keyFile, key, { mode: 0o600 });
  const signer = new IdentitySigner(Buffer.from(key));
  const logger = createLogger('bench', 'silent');
  const replica = new RpcServer({ signer, logger }).add(TextInferenceService, {
    async *generate({ model }) {
      yield { model };
      for (let i = 0; i < TOKENS; i++) {
        await delay(TOKEN_MS);
        yield { delta: `token ${i} ` };
      }
      yield { finishReason: FinishReason.STOP, usage: { inputTokens: 100, outputTokens: TOKENS } };
    },
  });
  const replicaPort = await replica.listen('127.0.0.1', 0);
  const balancer = new RpcServer({ signer, logger }).add(BalancerService, {
    async *watchEndpoints(_, { signal }) {
      const address = `127.0.0.1:${replicaPort}`;
      const model = 'models:/bench/1.0.0';
      const endpoints = [{ id: 'bench', address, state: EndpointState.READY, weight: 1 }];
      yield { endpoints, model, base: model, revision: 1n };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  const balancerPort = await balancer.listen('127.0.0.1', 0);
  running.defer(async () => {
    await Promise.all([replica.drain(100), balancer.drain(100)]);
  });
  const identity = { subject: 'key:bench', tenant: TENANT, role: Role.EDITOR };
  return {
    async start(kind, databaseUrl, home) {
      const env = {
        ...process.env,
        ...{ LANDFALL_HOME: home, LANDFALL_DATABASE_URL: databaseUrl, LANDFALL_MESH_KEY_FILE: keyFile },
        ...{ LANDFALL_NATS_URL: nats.url, LANDFALL_BALANCER_URL: `127.0.0.1:${balancerPort}` },
        LANDFALL_LOG_LEVEL: 'warn',
      };
      const child = fork(join(import.meta.dirname, 'prompt-server.ts'), [kind], { env });
      running.defer(() => stop(child));
      const [{ address }] = (await once(child, 'message')) as [{ address: string }];
      const channel = new RpcChannel(address, { signer, identity });
      running.defer(() => channel.close());
      return channel.client(PromptService);
    },
    async [Symbol.asyncDispose]() {
      await running.disposeAsync();
    },
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}
