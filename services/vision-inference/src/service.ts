import { join } from 'node:path';
import { openArtifactStore } from '@landfall/common/artifacts/location.ts';
import { VersionCache } from '@landfall/common/artifacts/version-cache.ts';
import { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { Database } from '@landfall/common/db/database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import { Changes } from '@landfall/common/lifecycle/changes.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { Sweeper } from '@landfall/common/lifecycle/sweeper.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcChannel, type RpcClient } from '@landfall/common/rpc/client.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { holdsPersonalData } from '@landfall/masking/mask.ts';
import { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import { BatchRunner } from './batch/batch-runner.ts';
import { DataSets } from './clients/data-sets.ts';
import { CollectionIndexes } from './collections/indexes.ts';
import type { VisionConfig } from './config.ts';
import type { VisionContext } from './context.ts';
import { visionEntities } from './db/entities.ts';
import { visionMigrations } from './db/migrations.ts';
import { KeptImages } from './domain/kept-images.ts';
import { Room } from './domain/room.ts';
import { Embeddings } from './embedding/embeddings.ts';
import { ModelVersions } from './embedding/model-versions.ts';
import { IndexThread } from './engine/search-index/index-thread.ts';
import { chat } from './routes/chat.ts';
import { collectionRoutes } from './routes/collections/routes.ts';
import { embed } from './routes/embed.ts';
import { inspect } from './routes/inspect.ts';
import { inspectStream } from './routes/inspect-stream.ts';
import { inspectionRoutes } from './routes/inspections/routes.ts';
import { profileRoutes } from './routes/profiles/routes.ts';
import { reviewRoutes } from './routes/reviews/routes.ts';
import { search } from './routes/search.ts';

const IMAGE_SWEEP_MS = 60_000;

export interface Overrides {
  logger?: Logger;
}

const MIB = 1024 * 1024;
/** Four images of the largest size in one call. */
const MAX_RECEIVE_BYTES = 65 * MIB;
/** An export uploads every image that was decided; a report takes as long as its model. */
const METHOD_DEADLINES_MS = { ExportCorrections: 1_800_000, Inspect: 300_000, ExplainReport: 300_000 };
/** Images and texts that may wait for an embedding model. */
const MAX_WAITING = 512;
/** Of vectors that are remembered: some 30,000. */
const VECTOR_CACHE_BYTES = 64 * MIB;
/** A fetched version that was asked for within this time stays whatever the cache's limit is. */
const KEEP_CACHED_MS = 3_600_000;

/** Seeing: images to structured reports, review by people, visual chat. */
export class VisionService implements Service {
  readonly #config: VisionConfig;
  readonly #logger: Logger;
  readonly #running = new AsyncDisposableStack();
  readonly #stopping = new AbortController();

  static async create(config: VisionConfig, overrides: Overrides = {}): Promise<VisionService> {
    return new VisionService(config, overrides);
  }

  private constructor(config: VisionConfig, overrides: Overrides) {
    this.#config = config;
    this.#logger = overrides.logger ?? createLogger(config.name, config.logLevel);
  }

  /** Resolves when calls are taken. */
  async start(): Promise<{ address: string; metrics: string }> {
    const config = this.#config;
    const logger = this.#logger;
    const telemetry = await startTelemetry(config.name, config.metricsPort);
    this.#running.defer(() => telemetry.stop());
    const database = this.#running.use(
      await Database.open({
        service: config.name,
        url: config.databaseUrl,
        file: join(config.home, 'vision.sqlite'),
        entities: visionEntities,
        migrations: visionMigrations,
      }),
    );
    const signer = new IdentitySigner(config.meshKey);
    const rpc = { signer, tls: config.tls };
    const replicas = this.#running.use(
      new BalancedClient({
        ...{ balancerUrl: config.balancerUrl, service: config.name, rpc, logger },
        mayLeave: (text) => !holdsPersonalData(text),
      }),
    );
    const registry = this.#channel(config.registryUrl, signer)?.client(RegistryService);
    const versions = this.#versions(registry);
    const embeddings = this.#running.use(
      new Embeddings({
        ...{ versions, logger, cacheFolder: config.cacheFolder, threads: config.threads },
        ...{ precision: config.embeddingPrecision, decodeAtOnce: config.decodeAtOnce },
        ...{ maxWaiting: MAX_WAITING, maxModels: config.embeddingModels, cacheBytes: VECTOR_CACHE_BYTES },
      }),
    );
    const indexes = this.#running.use(
      new CollectionIndexes({
        ...{ database, logger, folder: config.indexFolder, limitBytes: config.indexBytes },
        thread: await IndexThread.start(),
      }),
    );
    await indexes.collect();
    const store = await openArtifactStore(config.images, join(config.home, 'spool'));
    const context: VisionContext = {
      ...{ config, logger, database, replicas, versions, embeddings, indexes },
      images: new KeptImages(store, database),
      decoding: new Room(config.decodeAtOnce, config.maxWaiting),
      dataSets: new DataSets(registry),
      trainer: this.#channel(config.trainerUrl, signer)?.client(TrainerService),
      batches: this.#running.use(new BatchRunner()),
      changes: new Changes(),
      stopping: this.#stopping.signal,
    };
    const server = this.#server(context, signer);
    const { host, port } = config.listen;
    const bound = await server.listen(host, port);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, config.name, logger));
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    context.batches.start(context);
    const sweep = () => context.images.sweep(Date.now());
    this.#running.use(new Sweeper('images whose time was over', IMAGE_SWEEP_MS, sweep, logger));
    this.#running.defer(() => server.drain(config.graceMs));
    server.health.set('readiness', true);
    return { address: `${host}:${bound}`, metrics: telemetry.metricsUrl };
  }

  /** Not ready, running calls end within the grace period, then the rest in reverse order. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running.disposeAsync();
  }

  /** To another service; undefined where it is not configured. */
  #channel(address: string, signer: IdentitySigner): RpcChannel | undefined {
    if (address === '') return undefined;
    const channel = new RpcChannel(address, { signer, tls: this.#config.tls });
    this.#running.defer(() => channel.close());
    return channel;
  }

  #versions(registry: RpcClient<typeof RegistryService> | undefined): ModelVersions {
    const { cacheFolder, cacheBytes } = this.#config;
    const cache = this.#running.use(
      new VersionCache(cacheFolder, { limitBytes: cacheBytes, keepMs: KEEP_CACHED_MS }),
    );
    return new ModelVersions(registry, cache);
  }

  #server(context: VisionContext, signer: IdentitySigner): RpcServer {
    const { config, logger } = context;
    return new RpcServer({
      signer,
      logger,
      tls: config.tls,
      maxReceiveBytes: MAX_RECEIVE_BYTES,
      methodDeadlinesMs: METHOD_DEADLINES_MS,
    })
      .add(VisionInferenceService, {
        chat: chat(context),
        embed: embed(context),
        inspect: inspect(context),
        inspectStream: inspectStream(context),
        search: search(context),
      })
      .add(InspectionService, inspectionRoutes(context))
      .add(ProfileService, profileRoutes(context))
      .add(ReviewService, reviewRoutes(context))
      .add(CollectionService, collectionRoutes(context));
  }
}
