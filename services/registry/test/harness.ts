import { randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type TestDatabase, testDatabase } from '@landfall/common/db/test-database.ts';
import { EVENT_STREAM } from '@landfall/common/events/broker.ts';
import { type NatsServer, startNatsServer } from '@landfall/common/events/nats-server.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { createLogger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import { CatalogService } from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import { LifeCycleService } from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { Kind, Version } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import { RegistryService as RegistryContract } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { readConfig } from '../src/config.ts';
import { type Overrides, RegistryService } from '../src/service.ts';
import type { Files } from './fixtures.ts';

export type Client = RpcClient<typeof RegistryContract>;
export type CatalogClient = RpcClient<typeof CatalogService>;
export type LifeClient = RpcClient<typeof LifeCycleService>;

/** An event as any subscriber sees it. */
export type SeenEvent = { subject: string; id: string; payload: Record<string, unknown> };

export const editor = (tenant = 'acme', subject = 'key:test'): Identity => ({
  subject,
  tenant,
  role: Role.EDITOR,
});
export const admin = (tenant = 'acme'): Identity => ({ subject: 'key:admin', tenant, role: Role.ADMIN });

/**
 * A broker, a database and a registry on free ports, and a plain subscriber beside them. `env` is what a launched
 * process would be given.
 */
export class RegistryHarness implements AsyncDisposable {
  readonly env: Record<string, string>;
  readonly folder: string;
  readonly importRoot: string;
  readonly events: SeenEvent[] = [];
  readonly nats: NatsServer;
  readonly #place: TestDatabase;
  readonly #signer: IdentitySigner;
  readonly #connection: NatsConnection;
  #service: RegistryService | undefined;
  #channels: RpcChannel[] = [];
  #address = '';

  /** Undefined, with the reason printed, where PostgreSQL is asked for and not installed. */
  static async start(env: Record<string, string> = {}, overrides: Overrides = {}) {
    const place = await testDatabase();
    if (!place) return undefined;
    const nats = await startNatsServer({ folder: join(place.folder, 'nats') });
    const connection = await connect({ servers: nats.url });
    const harness = new RegistryHarness(place, nats, connection, env);
    await harness.startService(overrides);
    return harness;
  }

  private constructor(
    place: TestDatabase,
    nats: NatsServer,
    connection: NatsConnection,
    env: Record<string, string>,
  ) {
    this.#place = place;
    this.nats = nats;
    this.#connection = connection;
    this.folder = place.folder;
    this.importRoot = join(place.folder, 'import');
    mkdirSync(this.importRoot);
    const key = randomBytes(32);
    const keyFile = join(place.folder, 'mesh.key');
    writeFileSync(keyFile, key);
    this.#signer = new IdentitySigner(key);
    this.env = {
      LANDFALL_HOME: place.folder,
      LANDFALL_NATS_URL: nats.url,
      LANDFALL_DATABASE_URL: place.url,
      LANDFALL_MESH_KEY_FILE: keyFile,
      LANDFALL_LISTEN: '127.0.0.1:0',
      LANDFALL_IMPORT_ROOT: this.importRoot,
      LANDFALL_METRICS_PORT: '-1',
      LANDFALL_LOG_LEVEL: 'error',
      ...env,
    };
    const subscription = connection.subscribe('landfall.registry.>');
    void (async () => {
      for await (const message of subscription) {
        const id = message.headers?.get('ce-id') ?? '';
        this.events.push({ subject: message.subject, id, payload: message.json() });
      }
    })();
  }

  /** Where the service answers. */
  get address(): string {
    return this.#address;
  }

  /** Where the service keeps its content. */
  get artifacts(): string {
    return join(this.folder, 'registry', 'artifacts');
  }

  /** Every event that the broker keeps, each once. */
  async keptEvents(): Promise<SeenEvent[]> {
    const stream = await jetstreamManager(this.#connection);
    const { state } = await stream.streams.info(EVENT_STREAM);
    const kept: SeenEvent[] = [];
    if (state.messages === 0) return kept;
    for (let seq = Math.max(1, state.first_seq); seq <= state.last_seq; seq++) {
      const message = await stream.streams.getMessage(EVENT_STREAM, { seq });
      if (!message) continue;
      kept.push({ subject: message.subject, id: message.header.get('ce-id'), payload: message.json() });
    }
    return kept;
  }

  async startService(overrides: Overrides = {}): Promise<void> {
    const config = readConfig(this.env);
    const logger = createLogger(config.name, 'error');
    this.#service = await RegistryService.create(config, { logger, ...overrides });
    this.#address = (await this.#service.start()).address;
  }

  async stopService(): Promise<void> {
    for (const channel of this.#channels.splice(0)) channel.close();
    await this.#service?.[Symbol.asyncDispose]();
    this.#service = undefined;
  }

  client(identity: Identity = editor(), address = this.#address): Client {
    return this.#channel(identity, address).client(RegistryContract);
  }

  life(identity: Identity = editor()): LifeClient {
    return this.#channel(identity, this.#address).client(LifeCycleService);
  }

  catalog(identity: Identity = editor()): CatalogClient {
    return this.#channel(identity, this.#address).client(CatalogService);
  }

  #channel(identity: Identity, address: string): RpcChannel {
    const channel = new RpcChannel(address, { signer: this.#signer, identity });
    this.#channels.push(channel);
    return channel;
  }

  /** Publishes an event as another service would. */
  async publish(subject: string, payload: string): Promise<void> {
    await jetstream(this.#connection).publish(subject, payload);
  }

  /** Events of a version that have come in. */
  ready(name: string, version?: string): SeenEvent[] {
    return this.events.filter(
      ({ subject, payload }) =>
        subject === 'landfall.registry.model.ready.v1' &&
        payload.name === name &&
        (version === undefined || payload.version === version),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stopService();
    await this.#connection.close();
    await this.nats[Symbol.asyncDispose]();
    await this.#place[Symbol.asyncDispose]();
  }
}

/** Waits until a condition holds. */
export async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`after a minute still not: ${what}`);
    await delay(20);
  }
}

/** Puts files into a draft. */
export async function putAll(client: Client, name: string, version: string, files: Files): Promise<void> {
  for (const [path, content] of files) await client.putArtifact({ header: { name, version, path }, content });
}

/** A model with one version of these files, READY. */
export async function register(
  client: Client,
  name: string,
  kind: Kind,
  files: Files,
  init: { version?: string; base?: string; metrics?: Record<string, number> } = {},
): Promise<Version> {
  await client.createModel({ name, kind }).catch(() => {});
  const { version: draft } = await client.createVersion({ name, version: init.version ?? '' });
  await putAll(client, name, draft!.version, files);
  const lineage = { base: init.base ?? '' };
  const { version } = await client.commitVersion({
    name,
    version: draft!.version,
    lineage,
    metrics: init.metrics ?? {},
  });
  return version!;
}

/** A whole download. */
export async function download(
  client: Client,
  request: Parameters<Client['downloadArtifact']>[0],
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const { chunk } of client.downloadArtifact(request)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** An upload in chunks of a given size. */
export async function* uploadOf(
  header: { name: string; version: string; path: string; digest?: string; sizeBytes?: bigint },
  content: Buffer,
  chunkBytes = 64 * 1024,
) {
  yield { part: { case: 'header' as const, value: header } };
  for (let at = 0; at < content.length; at += chunkBytes) {
    yield { part: { case: 'chunk' as const, value: content.subarray(at, at + chunkBytes) } };
  }
}
