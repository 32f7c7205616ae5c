import type { Database } from '@landfall/common/db/database.ts';
import type { Changes } from '@landfall/common/lifecycle/changes.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { Handler } from '@landfall/common/rpc/implementation.ts';
import type { TrainerService } from '@landfall/proto/landfall/trainer/v1/trainer_service_pb.js';
import type { WorkerService } from '@landfall/proto/landfall/trainer/v1/worker_service_pb.js';
import type { DeploymentGateway } from './clients/deployments.ts';
import type { RegistryGateway } from './clients/registry.ts';
import type { ReplicaPool } from './clients/replicas.ts';
import type { TrainerConfig } from './config.ts';
import type { Scratch } from './domain/scratch.ts';
import type { PlanController } from './plan/controller.ts';

/** What every route works with. */
export interface TrainerContext {
  readonly config: TrainerConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly registry: RegistryGateway;
  readonly replicas: ReplicaPool;
  readonly deployments: DeploymentGateway;
  /** Watchers of jobs and of plans, by their ids. */
  readonly changes: Changes;
  readonly plans: PlanController;
  readonly scratch: Scratch;
  /** Fires when the service stops: streams that would last longer end then. */
  readonly stopping: AbortSignal;
}

/** A handler of one method of TrainerService. */
export type Route<M extends keyof typeof TrainerService.method> = (
  context: TrainerContext,
) => Handler<(typeof TrainerService.method)[M]>;

/** A handler of one method of WorkerService. */
export type WorkerRoute<M extends keyof typeof WorkerService.method> = (
  context: TrainerContext,
) => Handler<(typeof WorkerService.method)[M]>;
