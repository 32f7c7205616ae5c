/** A real gateway before one server that stands for all services of the mesh, as its test answers for them. */

import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DescService } from '@bufbuild/protobuf';
import { type TestDatabase, testDatabase } from '@landfall/common/db/test-database.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { readConfig } from '../src/config.ts';
import { publicServices } from '../src/edge/services.ts';
import { GatewayService } from '../src/service.ts';

export const MODEL = 'models:/qa/1.0.0';
export const BASE = 'models:/base/1.0.0';
/** File of the first key, in the database's folder. */
export const FIRST_KEY = 'first.key';

export interface GatewayMeshOptions {
  /** The replica behind the one deployment, `qa`. */
  generate: Implementation<typeof TextInferenceService>['generate'];
  registry?: Implementation<typeof RegistryService>;
  prompts?: Implementation<typeof PromptService>;
  trainer?: Implementation<typeof TrainerService>;
  vision?: Implementation<typeof VisionInferenceService>;
  /** Whether every service of the mesh is there, with methods that answer UNIMPLEMENTED to those who may call them. */
  everything?: boolean;
  /** What the balancer tells of a target: a model at a time, until it ends; MODEL for good without it. */
  models?: (signal: AbortSignal) => AsyncIterable<string>;
  /** Variables of the gateway beside those that the harness sets. */
  env?: Record<string, string>;
}

export class GatewayMesh implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly url: string;
  /** The first key: an administrator's. */
  readonly apiKey: string;
  readonly #gateway: GatewayService;
  readonly #env: Record<string, string>;
  readonly #running: AsyncDisposableStack;

  private constructor(
    database: TestDatabase,
    url: string,
    gateway: GatewayService,
    env: Record<string, string>,
    running: AsyncDisposableStack,
  ) {
    this.#env = env;
    this.database = database;
    this.url = url;
    this.apiKey = readFileSync(join(database.folder, FIRST_KEY), 'utf8').trim();
    this.#gateway = gateway;
    this.#running = running;
  }

  /** @returns undefined where the database that is asked for is not here: the tests are skipped */
  static async start(options: GatewayMeshOptions): Promise<GatewayMesh | undefined> {
    await using starting = new AsyncDisposableStack();
    const database = await testDatabase();
    if (!database) return undefined;
    starting.use(database);
    const { folder } = database;
    const key = randomBytes(48);
    writeFileSync(join(folder, 'mesh.key'), key);
    const logger = createLogger('test', 'silent');
    const upstream = new RpcServer({ signer: new IdentitySigner(key), logger });
    starting.defer(() => upstream.drain(100));
    const address = await serve(upstream, options);
    const env = {
      LANDFALL_HOME: folder,
      LANDFALL_LISTEN: '127.0.0.1:0',
      LANDFALL_DATABASE_URL: database.url,
      LANDFALL_MESH_KEY_FILE: join(folder, 'mesh.key'),
      LANDFALL_FIRST_KEY_FILE: join(folder, FIRST_KEY),
      LANDFALL_REGISTRY_URL: address,
      LANDFALL_TRAINER_URL: address,
      LANDFALL_BALANCER_URL: address,
      LANDFALL_PROMPT_URL: address,
      ...(options.vision || options.everything ? { LANDFALL_VISION_URL: address } : {}),
      ...options.env,
    };
    const gateway = starting.use(await GatewayService.create(readConfig(env), { logger }));
    const url = `http://${(await gateway.start()).address}`;
    return new GatewayMesh(database, url, gateway, env, starting.move());
  }

  /** Another gateway of the same mesh and database, with a home of its own. @returns its URL */
  async another(): Promise<string> {
    const { folder } = this.database;
    const home = join(folder, `another-${Math.random()}`);
    const { home: first } = readConfig(this.#env);
    const config = readConfig({
      ...this.#env,
      LANDFALL_HOME: home,
      LANDFALL_PSEUDONYM_KEY_FILE: join(first, 'pseudonym.key'),
    });
    mkdirSync(config.home, { recursive: true });
    symlinkSync(join(first, 'gateway.sqlite'), join(config.home, 'gateway.sqlite'));
    const logger = createLogger('test', 'silent');
    const gateway = this.#running.use(await GatewayService.create(config, { logger }));
    return `http://${(await gateway.start()).address}`;
  }

  /** The gateway alone, as on SIGTERM. */
  async stopGateway(): Promise<void> {
    await this.#gateway[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }
}

/** @returns where the services answer */
async function serve(
  server: RpcServer,
  { generate, registry, prompts, trainer, vision, models, everything = false }: GatewayMeshOptions,
): Promise<string> {
  let address = '';
  server.add(RegistryService, registry ?? {});
  server.add(PromptService, prompts ?? {});
  server.add(TrainerService, trainer ?? {});
  server.add(VisionInferenceService, vision ?? {});
  server.add(TextInferenceService, { generate });
  server.add(BalancerService, {
    listDeployments: () => ({ deployments: [{ name: 'qa', model: MODEL, base: BASE }] }),
    async *watchEndpoints(_request, { signal }) {
      const endpoints = [{ id: 'r1', address, state: EndpointState.READY, weight: 1 }];
      const list = { endpoints, base: BASE, revision: 1n };
      for await (const model of models?.(signal) ?? [MODEL]) yield { ...list, model };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  const served: readonly DescService[] = [
    ...[RegistryService, PromptService, TextInferenceService, BalancerService],
    ...[TrainerService, VisionInferenceService],
  ];
  for (const [service, destination] of everything ? publicServices : []) {
    if (destination !== 'gateway' && !served.includes(service)) server.add(service, {});
  }
  address = `127.0.0.1:${await server.listen('127.0.0.1', 0)}`;
  server.health.set('readiness', true);
  return address;
}
