import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Changes } from '@landfall/common/lifecycle/changes.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import type { Handler } from '@landfall/common/rpc/implementation.ts';
import type { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import type { InspectionService } from '@landfall/proto/landfall/vision/v1/inspection_service_pb.js';
import type { ProfileService } from '@landfall/proto/landfall/vision/v1/profile_service_pb.js';
import type { ReviewService } from '@landfall/proto/landfall/vision/v1/review_service_pb.js';
import type { VisionInferenceService } from '@landfall/proto/landfall/vision/v1/vision_inference_service_pb.js';
import type { BatchRunner } from './batch/batch-runner.ts';
import type { DataSets } from './clients/data-sets.ts';
import type { CollectionIndexes } from './collections/indexes.ts';
import type { VisionConfig } from './config.ts';
import type { KeptImages } from './domain/kept-images.ts';
import type { Room } from './domain/room.ts';
import type { Embeddings } from './embedding/embeddings.ts';
import type { ModelVersions } from './embedding/model-versions.ts';

/** What every route works with. */
export interface VisionContext {
  readonly config: VisionConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly replicas: BalancedClient;
  readonly versions: ModelVersions;
  readonly embeddings: Embeddings;
  readonly images: KeptImages;
  /** Where images are decoded: their pixels are what takes memory. */
  readonly decoding: Room;
  readonly indexes: CollectionIndexes;
  readonly dataSets: DataSets;
  /** undefined where none is configured. */
  readonly trainer: RpcClient<typeof TrainerService> | undefined;
  readonly batches: BatchRunner;
  /** Wakes who watches a batch. */
  readonly changes: Changes;
  /** Fires when the service begins to end: streams without an end of their own end then. */
  readonly stopping: AbortSignal;
}

/** A handler of one method of CollectionService. */
export type CollectionRoute<M extends keyof typeof CollectionService.method> = (
  context: VisionContext,
) => Handler<(typeof CollectionService.method)[M]>;

/** A handler of one method of VisionInferenceService. */
export type VisionRoute<M extends keyof typeof VisionInferenceService.method> = (
  context: VisionContext,
) => Handler<(typeof VisionInferenceService.method)[M]>;

/** A handler of one method of InspectionService. */
export type InspectionRoute<M extends keyof typeof InspectionService.method> = (
  context: VisionContext,
) => Handler<(typeof InspectionService.method)[M]>;

/** A handler of one method of ReviewService. */
export type ReviewRoute<M extends keyof typeof ReviewService.method> = (
  context: VisionContext,
) => Handler<(typeof ReviewService.method)[M]>;

/** A handler of one method of ProfileService. */
export type ProfileRoute<M extends keyof typeof ProfileService.method> = (
  context: VisionContext,
) => Handler<(typeof ProfileService.method)[M]>;
