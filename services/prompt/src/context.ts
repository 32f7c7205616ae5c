import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Changes } from '@landfall/common/lifecycle/changes.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { Handler } from '@landfall/common/rpc/implementation.ts';
import type { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { PromptDraftService } from '@landfall/proto/landfall/prompt/v1/draft_service_pb.js';
import type { PromptEvaluationService } from '@landfall/proto/landfall/prompt/v1/evaluation_service_pb.js';
import type { PromptExperimentService } from '@landfall/proto/landfall/prompt/v1/experiment_service_pb.js';
import type { PromptLibraryService } from '@landfall/proto/landfall/prompt/v1/library_service_pb.js';
import type { PromptLogService } from '@landfall/proto/landfall/prompt/v1/log_service_pb.js';
import type { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { DataSets } from './clients/data-sets.ts';
import type { PromptConfig } from './config.ts';
import type { InvocationLog } from './domain/invocation-log.ts';
import type { JobRunner } from './jobs/runner.ts';

/** What every route works with. */
export interface PromptContext {
  readonly config: PromptConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly replicas: BalancedClient;
  readonly log: InvocationLog;
  readonly dataSets: DataSets;
  /** Evaluations and optimisations. */
  readonly jobs: JobRunner;
  /** Wakes who watches a job. */
  readonly changes: Changes;
  /** Fires when the service begins to end: streams without an end of their own end then. */
  readonly stopping: AbortSignal;
}

/** A handler of one method of PromptLibraryService. */
export type LibraryRoute<M extends keyof typeof PromptLibraryService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptLibraryService.method)[M]>;

/** A handler of one method of PromptDraftService. */
export type DraftRoute<M extends keyof typeof PromptDraftService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptDraftService.method)[M]>;
/** A handler of one method of PromptAccessService. */
export type AccessRoute<M extends keyof typeof PromptAccessService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptAccessService.method)[M]>;

/** A handler of one method of PromptExperimentService. */
export type ExperimentRoute<M extends keyof typeof PromptExperimentService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptExperimentService.method)[M]>;

/** A handler of one method of PromptLogService. */
export type LogRoute<M extends keyof typeof PromptLogService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptLogService.method)[M]>;

/** A handler of one method of PromptService. */
export type Route<M extends keyof typeof PromptService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptService.method)[M]>;

/** A handler of one method of PromptEvaluationService. */
export type EvaluationRoute<M extends keyof typeof PromptEvaluationService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptEvaluationService.method)[M]>;
