import { join } from 'node:path';
import { openArtifactStore } from '@landfall/common/artifacts/location.ts';
import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import { Database } from '@landfall/common/db/database.ts';
import { Broker } from '@landfall/common/events/broker.ts';
import { OutboxRelay } from '@landfall/common/events/outbox.ts';
import { IdentitySigner } from '@landfall/common/identity/signer.ts';
import type { Service } from '@landfall/common/lifecycle/run-service.ts';
import { createLogger, type Logger } from '@landfall/common/log/logger.ts';
import { RpcServer } from '@landfall/common/rpc/server.ts';
import { startTelemetry } from '@landfall/common/telemetry/telemetry.ts';
import { CatalogService } from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import { LifeCycleService } from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { RegistryService as RegistryContract } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryConfig } from './config.ts';
import { deploymentChangedConsumer } from './consumers/deployment-changed.ts';
import type { RegistryContext } from './context.ts';
import { registryEntities } from './db/entities.ts';
import { registryMigrations } from './db/migrations.ts';
import { Blobs } from './domain/blobs.ts';
import { Housekeeping } from './housekeeping.ts';
import { HubClient } from './hub/client.ts';
import { approveVersion } from './routes/approve-version.ts';
import { checkGates } from './routes/check-gates.ts';
import { commitVersion } from './routes/commit-version.ts';
import { compareVersions } from './routes/compare-versions.ts';
import { createModel } from './routes/create-model.ts';
import { createVersion } from './routes/create-version.ts';
import { deleteVersion } from './routes/delete-version.ts';
import { deprecateVersion } from './routes/deprecate-version.ts';
import { downloadArtifact } from './routes/download-artifact.ts';
import { getLineage } from './routes/get-lineage.ts';
import { getModel } from './routes/get-model.ts';
import { getModelCard } from './routes/get-model-card.ts';
import { getStorage } from './routes/get-storage.ts';
import { getVersion } from './routes/get-version.ts';
import { importModel } from './routes/import-model.ts';
import { listAliasPolicies } from './routes/list-alias-policies.ts';
import { listHistory } from './routes/list-history.ts';
import { listModels } from './routes/list-models.ts';
import { listVersions } from './routes/list-versions.ts';
import { putArtifact } from './routes/put-artifact.ts';
import { recordCheck } from './routes/record-check.ts';
import { reinstateVersion } from './routes/reinstate-version.ts';
import { removeAlias } from './routes/remove-alias.ts';
import { removeAliasPolicy } from './routes/remove-alias-policy.ts';
import { restoreVersion } from './routes/restore-version.ts';
import { searchVersions } from './routes/search-versions.ts';
import { setAlias } from './routes/set-alias.ts';
import { setAliasPolicy } from './routes/set-alias-policy.ts';
import { setStage } from './routes/set-stage.ts';
import { uploadArtifact } from './routes/upload-artifact.ts';
import { watchImportModel } from './routes/watch-import-model.ts';

/** For imports whose callers name no deadline: what a hub sends in an hour. */
const IMPORT_DEADLINE_MS = 3_600_000;

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
        migrations: registryMigrations,
      }),
    );
    const artifacts =
      this.#overrides.artifacts ?? (await openArtifactStore(config.artifacts, join(config.home, 'spool')));
    const blobs = new Blobs(artifacts, database);
    const hub = new HubClient(config.hub, config.uploadIdleMs);
    const server = this.#server({
      config,
      logger,
      database,
      artifacts,
      blobs,
      hub,
      hubImports: new Map(),
    });
    const { host, port } = config.listen;
    const bound = await server.listen(host, port);
    const broker = this.#running.use(await Broker.connect(config.natsUrl, config.name, logger));
    const relay = this.#running.use(new OutboxRelay(database, broker, logger));
    relay.start();
    const deployments = this.#running.use(deploymentChangedConsumer(database, broker, logger));
    await deployments.start();
    const { name: source, collectAfterMs: intervalMs, keepEmptyMs, home } = config;
    this.#running.use(
      new Housekeeping({ database, artifacts, blobs, home, source, logger, keepEmptyMs, intervalMs }),
    );
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
    return new RpcServer({
      signer,
      logger,
      tls: config.tls,
      methodDeadlinesMs: { ImportModel: IMPORT_DEADLINE_MS },
    })
      .add(RegistryContract, {
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
        watchImportModel: watchImportModel(context),
        getLineage: getLineage(context),
      })
      .add(LifeCycleService, {
        setStage: setStage(context),
        setAliasPolicy: setAliasPolicy(context),
        removeAliasPolicy: removeAliasPolicy(context),
        listAliasPolicies: listAliasPolicies(context),
        recordCheck: recordCheck(context),
        approveVersion: approveVersion(context),
        checkGates: checkGates(context),
        removeAlias: removeAlias(context),
        deprecateVersion: deprecateVersion(context),
        reinstateVersion: reinstateVersion(context),
        deleteVersion: deleteVersion(context),
        restoreVersion: restoreVersion(context),
        listHistory: listHistory(context),
      })
      .add(CatalogService, {
        searchVersions: searchVersions(context),
        getModelCard: getModelCard(context),
        compareVersions: compareVersions(context),
        getStorage: getStorage(context),
      });
  }
}
