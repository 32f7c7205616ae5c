import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import type { Database } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { LabelCache } from '@landfall/common/prompts/label-cache.ts';
import type { RpcChannel } from '@landfall/common/rpc/client.ts';
import type { ResourcePolicies } from './access/resource-policies.ts';
import type { Audit } from './audit/audit.ts';
import type { CacheBook } from './cache/cache-book.ts';
import type { GatewayConfig } from './config.ts';
import type { ContentPolicies } from './content/policies.ts';
import type { Reviews } from './content/reviews.ts';
import type { Policies } from './domain/policies.ts';
import type { Governance } from './edge/governance.ts';
import type { EventLink } from './events/event-link.ts';
import type { Callers } from './identity/callers.ts';
import type { Directory } from './identity/directory.ts';
import type { Principals } from './identity/principals.ts';
import type { KeyStore } from './keys/key-store.ts';
import type { QuotaBook } from './quota/quota-book.ts';
import type { SecretBox } from './webhooks/secret.ts';

/** What routes work with. */
export interface GatewayContext {
  readonly config: GatewayConfig;
  readonly logger: Logger;
  readonly database: Database;
  readonly audit: Audit;
  readonly keys: KeyStore;
  readonly callers: Callers;
  readonly directory: Directory;
  readonly resourcePolicies: ResourcePolicies;
  readonly principals: Principals;
  readonly policies: Policies;
  readonly quotas: QuotaBook;
  /** What may pass, by tenant. */
  readonly contentPolicies: ContentPolicies;
  /** Answers that are kept. */
  readonly cache: CacheBook;
  /** Requests that people decide on. */
  readonly reviews: Reviews;
  /** What pseudonyms come from. */
  readonly pseudonymKey: Buffer;
  readonly events: EventLink;
  /** Seals secrets that lie in the database. */
  readonly secrets: SecretBox;
  /** The way of every call. */
  readonly governance: Governance;
  readonly channels: Readonly<Record<'registry' | 'trainer' | 'balancer' | 'prompt', RpcChannel>> & {
    readonly vision: RpcChannel | undefined;
  };
  /** Reads of prompts by label, that outlast the prompt service. */
  readonly labels: LabelCache;
  /** Calls to replicas of text-inference. */
  readonly replicas: BalancedClient;
}

/** A method that the gateway answers itself: the request and who asks. */
export type OwnRoute<I, O> = (context: GatewayContext) => (request: I, caller: Identity) => Promise<O>;

/** The same for a method that answers in parts, until its signal fires. */
export type OwnStream<I, O> = (
  context: GatewayContext,
) => (request: I, caller: Identity, signal: AbortSignal) => AsyncIterable<O>;
