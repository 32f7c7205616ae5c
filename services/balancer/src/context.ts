import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import type { Handler } from '@landfall/common/rpc/implementation.ts';
import type { BalancerService } from '@landfall/proto/landfall/balancer/v1/balancer_service_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { BalancerConfig } from './config.ts';
import type { Fleet } from './control/fleet.ts';

/** What every route works with. */
export interface BalancerContext {
  readonly config: BalancerConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly fleet: Fleet;
  readonly registry: RpcClient<typeof RegistryService>;
  /** Fires when the balancer begins to stop: streams and waits without an end of their own are over. */
  readonly draining: AbortSignal;
}

/** A handler of one method of BalancerService. */
export type Route<M extends keyof typeof BalancerService.method> = (
  context: BalancerContext,
) => Handler<(typeof BalancerService.method)[M]>;
