import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Database } from '@landfall/common/db/database.ts';
import { testDatabase } from '@landfall/common/db/test-database.ts';
import { notFound } from '@landfall/common/errors/errors.ts';
import { startNatsServer } from '@landfall/common/events/nats-server.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import { EndpointState } from '@landfall/proto/landfall/balancer/v1/deployment_pb.js';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { readConfig } from '../src/config.ts';
import { visionEntities } from '../src/db/entities.ts';
import { visionMigrations } from '../src/db/migrations.ts';
import { VisionService } from '../src/service.ts';

/** What a deployment's replica does. */
export type Replica = Implementation<typeof TextInferenceService>;

/** The service among real servers: a broker, a database, and a replica for each deployment. */
export interface Stage extends AsyncDisposable {
  readonly vision: RpcClient<typeof VisionInferenceService>;
  readonly inspections: RpcClient<typeof InspectionService>;
  readonly profiles: RpcClient<typeof ProfileService>;
  readonly reviews: RpcClient<typeof ReviewService>;
  readonly channel: RpcChannel;
  readonly natsUrl: string;
  /** State folder of the service. */
  readonly home: string;
  /** Opens the service's database, beside the service. */
  database(): Promise<Database>;
  /** Runs a statement on the service's database, beside the service. */
  sql(statement: string): Promise<unknown>;
  /** Ends the service and starts it anew on the same database. */
  restart(): Promise<void>;
}

export const editor = { subject: 'key:editor', tenant: 'acme', role: Role.EDITOR };

/**
 * @param env more of the service's environment; a function of the mesh's signer and key file makes servers first
 * @param beside replicas that run already, by their addresses, and the key that they know the mesh by
 * @returns undefined where PostgreSQL is asked for and not installed
 */
export async function stage(
  deployments: Record<string, Replica>,
  env:
    | Record<string, string>
    | ((signer: IdentitySigner, meshKey: Uint8Array) => Promise<Record<string, string>>) = {},
  beside: { meshKey?: Uint8Array; replicas?: Record<string, string> } = {},
): Promise<Stage | undefined> {
  const place = await testDatabase();
  if (!place) return undefined;
  const running = new AsyncDisposableStack();
  running.use(place);
  const folder = mkdtempSync(join(tmpdir(), 'landfall-vision-'));
  running.defer(() => rmSync(folder, { recursive: true, force: true }));
  const nats = running.use(await startNatsServer({ folder: join(folder, 'nats') }));
  const key = beside.meshKey ?? randomBytes(48);
  const signer = new IdentitySigner(key);
  const logger = createLogger('test', 'silent');
  const addresses = new Map(Object.entries(beside.replicas ?? {}));
  for (const [name, replica] of Object.entries(deployments)) {
    const server = new RpcServer({ signer, logger, maxReceiveBytes: 64 * 1024 * 1024 });
    const port = await server.add(TextInferenceService, replica).listen('127.0.0.1', 0);
    addresses.set(name, `127.0.0.1:${port}`);
    running.defer(() => server.drain(100));
  }
  const balancer = new RpcServer({ signer, logger }).add(BalancerService, {
    async *watchEndpoints({ deployment, model: asked }, { signal }) {
      const name = deployment || /^models:\/([^/@]+)/.exec(asked)?.[1] || '';
      const address = addresses.get(name);
      if (!address) throw notFound(`there is no deployment '${name}'`);
      const model = `models:/${name}/1.0.0`;
      const endpoint = { id: name, address, state: EndpointState.READY, weight: 1 };
      yield { endpoints: [endpoint], model, base: model, revision: 1n };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
  });
  const port = await balancer.listen('127.0.0.1', 0);
  running.defer(() => balancer.drain(100));
  writeFileSync(join(folder, 'mesh.key'), key);
  const config = readConfig({
    LANDFALL_HOME: folder,
    LANDFALL_NATS_URL: nats.url,
    LANDFALL_DATABASE_URL: place.url,
    LANDFALL_MESH_KEY_FILE: join(folder, 'mesh.key'),
    LANDFALL_BALANCER_URL: `127.0.0.1:${port}`,
    ...(typeof env === 'function' ? await env(signer, key) : env),
  });
  const start = async () => {
    const service = await VisionService.create(config, { logger });
    const channel = new RpcChannel((await service.start()).address, { signer, identity: editor });
    return { service, channel };
  };
  const openDatabase = () =>
    Database.open({
      ...{ service: config.name, url: place.url, file: join(config.home, 'vision.sqlite') },
      ...{ entities: visionEntities, migrations: visionMigrations },
    });
  let now = await start();
  const stop = async () => {
    now.channel.close();
    await now.service[Symbol.asyncDispose]();
  };
  return {
    natsUrl: nats.url,
    home: config.home,
    get vision() {
      return now.channel.client(VisionInferenceService);
    },
    get inspections() {
      return now.channel.client(InspectionService);
    },
    get profiles() {
      return now.channel.client(ProfileService);
    },
    get reviews() {
      return now.channel.client(ReviewService);
    },
    get channel() {
      return now.channel;
    },
    database: openDatabase,
    async sql(statement) {
      await using database = await openDatabase();
      return await database.fork().getConnection().execute(statement);
    },
    async restart() {
      await stop();
      now = await start();
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await running.disposeAsync();
    },
  };
}
