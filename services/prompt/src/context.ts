import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { Handler } from '@landfall/common/rpc/implementation.ts';
import type { PromptService } from '@landfall/proto/landfall/prompt/v1/prompt_service_pb.js';
import type { PromptConfig } from './config.ts';
import type { InvocationLog } from './domain/invocation-log.ts';

/** What every route works with. */
export interface PromptContext {
  readonly config: PromptConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly replicas: BalancedClient;
  readonly log: InvocationLog;
}

/** A handler of one method of PromptService. */
export type Route<M extends keyof typeof PromptService.method> = (
  context: PromptContext,
) => Handler<(typeof PromptService.method)[M]>;
