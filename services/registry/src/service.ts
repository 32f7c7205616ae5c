import { join } from 'node:path';
import { DiskStore } from '@landfall/common/artifacts/disk-store.ts';
import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import { Database } from '@landfall/common/db/database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { RegistryService as RegistryContract } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryConfig } from './config.ts';
import type { RegistryContext } from './context.ts';
import { registryEntities } from './db/entities.ts';
import { initialMigration } from './db/migrations/initial.ts';
import { parentsMigration } from './db/migrations/parents.ts';
import { Blobs } from './domain/blobs.ts';
import { forgetOldAnswers } from './domain/idempotency.ts';
import { commitVersion } from './routes/commit-version.ts';
import { createModel } from './routes/create-model.ts';
import { createVersion } from './routes/create-version.ts';
import { downloadArtifact } from './routes/download-artifact.ts';
import { getLineage } from './routes/get-lineage.ts';
import { getModel } from './routes/get-model.ts';
import { getVersion } from './routes/get-version.ts';
import { importModel } from './routes/import-model.ts';
import { listModels } from './routes/list-models.ts';
import { listVersions } from './routes/list-versions.ts';
import { putArtifact } from './routes/put-artifact.ts';
import { setAlias } from './routes/set-alias.ts';
import { uploadArtifact } from './routes/upload-artifact.ts';

export interface Overrides {
  logger?: Logger;
  /** Where content is kept, in place of the disk. */
  artifacts?: ArtifactStore;
}

/** The registry: models, adapters and data sets behind RegistryService. */
export class RegistryService implements Service {
  readonly #config: RegistryConfig;
  readonly #logger: Logger;
  readonly #overrides: Overrides;
  readonly #running = new AsyncDisposableStack();

  static async create(config: RegistryConfig, overrides: Overrides = {}): Promise<RegistryService> {
    return new RegistryService(config, overrides);
  }

  private constructor(config: RegistryConfig, overrides: Overrides) {
    this.#config = config;
    this.#overrides = overrides;
    this.#logger = overrides.logger ?? createLogger(config.name, config.logLevel);
  }

  /** Resolves when calls are taken. Listens before the broker is there, so that liveness can be seen. */
  async start(): Promise<{ address: string; metrics: string }> {
    const config = this.#config;
    const logger = this.#logger;
    const telemetry = await startTelemetry(config.name, config.metricsPort);
    this.#running.defer(() => telemetry.stop());
    const database = this.#running.use(
      await Database.open({
        service: config.name,
        url: config.databaseUrl,
        file: join(config.home, 'registry.sqlite'),
        entities: registryEntities,
        migrations: [initialMigration, parentsMigration],
      }),
    );
    const artifacts = this.#overrides.artifacts ?? (await DiskStore.open(join(config.home, 'artifacts')));
    const blobs = new Blobs(artifacts, database);
    const server = this.#server({ config, logger, database, artifacts, blobs });
    const { host, port } = config.listen;
    const bound = await server.listen(host, port);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, config.name, logger));
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    this.#keepHouse(database, blobs);
    this.#running.defer(() => server.drain(config.graceMs));
    server.health.set('readiness', true);
    return { address: `${host}:${bound}`, metrics: telemetry.metricsUrl };
  }

  /** Not ready, running calls end within the grace period, then outbox, broker and database in reverse order. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#running.disposeAsync();
  }

  #server(context: RegistryContext): RpcServer {
    const { config, logger } = context;
    const signer = new IdentitySigner(config.meshKey);
    return new RpcServer({ signer, logger, tls: config.tls }).add(RegistryContract, {
      createModel: createModel(context),
      getModel: getModel(context),
      listModels: listModels(context),
      createVersion: createVersion(context),
      uploadArtifact: uploadArtifact(context),
      putArtifact: putArtifact(context),
      commitVersion: commitVersion(context),
      getVersion: getVersion(context),
      listVersions: listVersions(context),
      setAlias: setAlias(context),
      downloadArtifact: downloadArtifact(context),
      importModel: importModel(context),
      getLineage: getLineage(context),
    });
  }

  #keepHouse(database: Database, blobs: Blobs): void {
    const round = async () => {
      try {
        await forgetOldAnswers(database);
        const deleted = await blobs.collect();
        if (deleted > 0) this.#logger.info({ deleted }, 'content that nothing refers to was deleted');
      } catch (error) {
        this.#logger.warn({ err: error }, 'the housekeeping failed and is tried again later');
      }
    };
    void round();
    const timer = setInterval(round, this.#config.collectAfterMs);
    timer.unref();
    this.#running.defer(() => clearInterval(timer));
  }
}
