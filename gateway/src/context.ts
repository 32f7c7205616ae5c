import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcChannel } from '@landfall/common/rpc/client.ts';
import type { GatewayConfig } from './config.ts';
import type { Policies } from './domain/policies.ts';
import type { RateLimiter } from './edge/rate-limiter.ts';
import type { KeyStore } from './keys/key-store.ts';

/** What routes work with. */
export interface GatewayContext {
  readonly config: GatewayConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly keys: KeyStore;
  readonly policies: Policies;
  readonly limiter: RateLimiter;
  readonly channels: Readonly<Record<'registry' | 'trainer' | 'balancer' | 'prompt', RpcChannel>> & {
    readonly vision: RpcChannel | undefined;
  };
  /** Calls to replicas of text-inference. */
  readonly replicas: BalancedClient;
}

/** A method of AdminService: the request and who asks. */
export type AdminRoute<I, O> = (context: GatewayContext) => (request: I, caller: Identity) => Promise<O>;
