import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { Handler } from '@landfall/common/rpc/implementation.ts';
import type { CatalogService } from '@landfall/proto/landfall/registry/v1/catalog_service_pb.js';
import type { LifeCycleService } from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryConfig } from './config.ts';
import type { Blobs } from './domain/blobs.ts';
import type { HubClient } from './hub/client.ts';

/** What every route works with. */
export interface RegistryContext {
  readonly config: RegistryConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly artifacts: ArtifactStore;
  /** The way of content into the store, and out of it when nothing refers to it. */
  readonly blobs: Blobs;
  readonly hub: HubClient;
  /** Imports of hubs that run, by repository and commit. */
  readonly hubImports: Map<string, Promise<void>>;
}

/** A handler of one method of RegistryService. */
export type Route<M extends keyof typeof RegistryService.method> = (
  context: RegistryContext,
) => Handler<(typeof RegistryService.method)[M]>;

/** A handler of one method of LifeCycleService. */
export type LifeRoute<M extends keyof typeof LifeCycleService.method> = (
  context: RegistryContext,
) => Handler<(typeof LifeCycleService.method)[M]>;

/** A handler of one method of CatalogService. */
export type CatalogRoute<M extends keyof typeof CatalogService.method> = (
  context: RegistryContext,
) => Handler<(typeof CatalogService.method)[M]>;
