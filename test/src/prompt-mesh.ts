/** A gateway before a prompt service, with a broker and a database, in this process; no other service is there. */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { main } from '@landfall/deploy/cli/main.ts';
import { readConfig as readGatewayConfig } from '@landfall/gateway/config.ts';
import { GatewayService } from '@landfall/gateway/service.ts';
import { readConfig } from '@landfall/prompt/config.ts';
import { PromptService } from '@landfall/prompt/service.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { vi } from 'vitest';

type Replica = NonNullable<Implementation<typeof TextInferenceService>['generate']>;

/** @returns where a balancer answers that knows one replica, by every name */
async function serveReplica(
  starting: AsyncDisposableStack,
  key: Uint8Array,
  generate: Replica,
): Promise<string> {
  let address = '';
  const server = new RpcServer({ signer: new IdentitySigner(key), logger: createLogger('test', 'silent') });
  server.add(TextInferenceService, { generate }).add(BalancerService, {
    async *watchEndpoints({ deployment }, { signal }) {
      const endpoints = [{ id: 'r1', address, state: EndpointState.READY, weight: 1 }];
      const model = `models:/${deployment}/1.0.0`;
      yield { endpoints, model, base: model, revision: 1n };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  address = `127.0.0.1:${await server.listen('127.0.0.1', 0)}`;
  starting.defer(() => server.drain(100));
  return address;
}

export class PromptMesh implements AsyncDisposable {
  readonly url: string;
  /** Secrets of keys, by whose they are; the first is `admin`'s. */
  readonly keys = new Map<string, string>();
  /** State folder of both services. */
  readonly folder: string;
  readonly #running: AsyncDisposableStack;

  private constructor(url: string, folder: string, running: AsyncDisposableStack) {
    this.url = url;
    this.folder = folder;
    this.keys.set('admin', readFileSync(join(folder, 'first.key'), 'utf8').trim());
    this.#running = running;
  }

  /**
   * @param generate the replica behind every deployment; without it none answers
   * @returns undefined where the database that is asked for is not here: the tests are skipped
   */
  static async start(generate?: Replica): Promise<PromptMesh | undefined> {
    await using starting = new AsyncDisposableStack();
    const place = await testDatabase();
    if (!place) return undefined;
    starting.use(place);
    const folder = mkdtempSync(join(tmpdir(), 'landfall-access-'));
    starting.defer(() => rmSync(folder, { recursive: true, force: true }));
    const key = randomBytes(48);
    writeFileSync(join(folder, 'mesh.key'), key);
    const nats = starting.use(await startNatsServer({ folder: join(folder, 'nats') }));
    const logger = createLogger('test', 'silent');
    const nobody = '127.0.0.1:1';
    const env = {
      ...{ LANDFALL_HOME: folder, LANDFALL_NATS_URL: nats.url, LANDFALL_DATABASE_URL: place.url },
      ...{ LANDFALL_MESH_KEY_FILE: join(folder, 'mesh.key'), LANDFALL_LISTEN: '127.0.0.1:0' },
      LANDFALL_BALANCER_URL: generate ? await serveReplica(starting, key, generate) : nobody,
    };
    const prompt = starting.use(await PromptService.create(readConfig(env), { logger }));
    const { address } = await prompt.start();
    const gateway = starting.use(
      await GatewayService.create(
        readGatewayConfig({
          ...{ ...env, LANDFALL_PROMPT_URL: address, LANDFALL_REGISTRY_URL: nobody },
          ...{ LANDFALL_TRAINER_URL: nobody, LANDFALL_FIRST_KEY_FILE: join(folder, 'first.key') },
        }),
        { logger },
      ),
    );
    return new PromptMesh(`http://${(await gateway.start()).address}`, folder, starting.move());
  }

  /** A command of somebody's: its exit code, and what it has written. */
  async run(who: string, ...words: string[]): Promise<{ code: number; text: string }> {
    let text = '';
    const take = (chunk: unknown) => {
      text += chunk;
      return true;
    };
    vi.spyOn(process.stdout, 'write').mockImplementation(take);
    vi.spyOn(process.stderr, 'write').mockImplementation(take);
    try {
      const code = await main(words, { LANDFALL_URL: this.url, LANDFALL_API_KEY: this.keys.get(who)! });
      return { code, text: text.trim() };
    } finally {
      vi.restoreAllMocks();
    }
  }

  /** A call over Connect as JSON; a reply of any status. */
  post(who: string, method: string, body: object): Promise<Response> {
    return fetch(`${this.url}/${method}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.keys.get(who)}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }

  /** A prompt with one version. */
  async makePrompt(who: string, name: string, folder: string): Promise<void> {
    for (const [method, more] of [
      ['CreatePrompt', { folder }],
      ['CreateVersion', {}],
    ] as const) {
      const draft = { messages: [{ role: 'user', template: `${method} {q}` }] };
      const reply = await this.post(who, `landfall.prompt.v1.PromptService/${method}`, {
        ...{ name, ...more, draft },
      });
      if (!reply.ok) throw new Error(`${method} of ${name}: ${await reply.text()}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }
}
