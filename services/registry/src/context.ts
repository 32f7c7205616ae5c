import type { ArtifactStore } from '@landfall/common/artifacts/store.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { Handler } from '@landfall/common/rpc/implementation.ts';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { RegistryConfig } from './config.ts';
import type { Blobs } from './domain/blobs.ts';

/** What every route works with. */
export interface RegistryContext {
  readonly config: RegistryConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly artifacts: ArtifactStore;
  /** The way of content into the store, and out of it when nothing refers to it. */
  readonly blobs: Blobs;
}

/** A handler of one method of RegistryService. */
export type Route<M extends keyof typeof RegistryService.method> = (
  context: RegistryContext,
) => Handler<(typeof RegistryService.method)[M]>;
