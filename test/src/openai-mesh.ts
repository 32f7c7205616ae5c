/** A real gateway before real replicas of tiny models; of the balancer only the list of endpoints stands in. */

import { readFileSync, writeFileSync } from 'node:fs';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { readConfig } from '@landfall/gateway/config.ts';
import { GatewayService } from '@landfall/gateway/service.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import {
  fakeRunnerModule,
  logger,
  meshKey,
  signer,
  TestFolder,
  TestRegistry,
  TestReplica,
  testConfig,
} from '../../services/text-inference/test/harness.ts';
import { writeTinyLlava } from '../../services/text-inference/test/tiny-llava.ts';
import {
  writeTinyAdapter,
  writeTinyModel,
  writeTokenizer,
} from '../../services/text-inference/test/tiny-model.ts';

export const BASE = 'models:/base/1.0.0';
export const ADAPTER = 'models:/medical-qa/1.0.0';

interface Deployment {
  name: string;
  model: string;
  replica: TestReplica | undefined;
}

export class OpenAiMesh implements AsyncDisposable {
  readonly url: string;
  readonly apiKey: string;
  /** Serves the deployments `tiny` (the base) and `medical-qa` (an adapter of it). */
  readonly replica: TestReplica;
  /** Serves `slow`: one request at a time, 10 ms a token, nobody may wait. */
  readonly slow: TestReplica;
  /** Serves `seeing`: a model that reads images. */
  readonly seeing: TestReplica;
  readonly #stack: AsyncDisposableStack;

  /** @returns undefined where the database that is asked for can't be had */
  static async start(): Promise<OpenAiMesh | undefined> {
    await using stack = new AsyncDisposableStack();
    const database = await testDatabase();
    if (!database) return undefined;
    stack.use(database);
    const folder = stack.use(new TestFolder());
    const registry = stack.use(await startRegistry(folder));
    const shared = { registryUrl: registry.address, blockSize: 16, maxQueue: 64 };
    const replica = stack.use(await TestReplica.start(testConfig(folder.join('home'), shared)));
    writeTokenizer(folder.join('slow'));
    const one = {
      modelFolder: folder.join('slow'),
      runnerModule: fakeRunnerModule,
      maxBatch: 1,
      maxQueue: 0,
    };
    const slow = stack.use(await TestReplica.start(testConfig(folder.join('slow-home'), one)));
    writeTinyLlava(folder.join('seeing'));
    const seer = { modelFolder: folder.join('seeing'), model: { name: 'seeing', version: '1.0.0' } };
    const seeing = stack.use(await TestReplica.start(testConfig(folder.join('seeing-home'), seer)));
    const balancer = await startBalancer([
      { name: 'tiny', model: BASE, replica },
      { name: 'medical-qa', model: ADAPTER, replica },
      { name: 'slow', model: BASE, replica: slow },
      { name: 'seeing', model: 'models:/seeing/1.0.0', replica: seeing },
      { name: 'empty', model: BASE, replica: undefined },
    ]);
    stack.defer(() => balancer.server.drain(0));
    writeFileSync(folder.join('mesh.key'), meshKey);
    const upstream = `127.0.0.1:${balancer.port}`;
    const config = readConfig({
      LANDFALL_HOME: folder.join('gateway'),
      LANDFALL_LISTEN: '127.0.0.1:0',
      LANDFALL_DATABASE_URL: database.url,
      LANDFALL_MESH_KEY_FILE: folder.join('mesh.key'),
      LANDFALL_FIRST_KEY_FILE: folder.join('first.key'),
      LANDFALL_REGISTRY_URL: registry.address,
      LANDFALL_TRAINER_URL: upstream,
      LANDFALL_BALANCER_URL: upstream,
      LANDFALL_PROMPT_URL: upstream,
    });
    const gateway = stack.use(await GatewayService.create(config, { logger }));
    const url = `http://${(await gateway.start()).address}`;
    const apiKey = readFileSync(folder.join('first.key'), 'utf8').trim();
    return new OpenAiMesh(url, apiKey, { replica, slow, seeing }, stack.move());
  }

  private constructor(
    url: string,
    apiKey: string,
    { replica, slow, seeing }: { replica: TestReplica; slow: TestReplica; seeing: TestReplica },
    stack: AsyncDisposableStack,
  ) {
    this.url = url;
    this.apiKey = apiKey;
    this.replica = replica;
    this.slow = slow;
    this.seeing = seeing;
    this.#stack = stack;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function startRegistry(folder: TestFolder): Promise<TestRegistry> {
  writeTinyModel(folder.join('base'), { seed: 3 });
  writeTinyAdapter(folder.join('adapter'), { seed: 11 });
  const registry = new TestRegistry();
  const version = '1.0.0';
  registry.versions.push(
    { name: 'base', version, kind: Kind.BASE, folder: folder.join('base') },
    { name: 'medical-qa', version, kind: Kind.ADAPTER, folder: folder.join('adapter'), base: BASE },
  );
  await registry.start();
  return registry;
}

async function startBalancer(deployments: Deployment[]): Promise<{ server: RpcServer; port: number }> {
  const server = new RpcServer({ signer, logger });
  const endpoints = (replica: TestReplica | undefined) =>
    replica ? [{ id: replica.address, address: replica.address, state: EndpointState.READY, weight: 1 }] : [];
  server.add(BalancerService, {
    listDeployments: () => ({
      deployments: deployments.map(({ name, model, replica }) => ({
        name,
        model,
        base: BASE,
        endpoints: endpoints(replica).map((each) => ({ ...each, load: { adapters: [ADAPTER] } })),
      })),
    }),
    async *watchEndpoints({ deployment, model }, { signal }) {
      const found = deployments.find((each) => each.name === deployment || (model && each.model === model));
      if (!found) throw notFound(`deployment '${deployment}' does not exist`);
      yield { endpoints: endpoints(found.replica), model: found.model, base: BASE, revision: 1n };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  return { server, port: await server.listen('127.0.0.1', 0) };
}
