import { setTimeout as delay } from 'node:timers/promises';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import { Role } from '@landfall/proto/landfall/mesh/v1/options_pb.js';
import type { RegistryService } from '@landfall/proto/landfall/registry/v1/registry_service_pb.js';
import type { Fleet } from '../control/fleet.ts';
import { change, lockDeployment, retarget } from './deployments.ts';
import { declaredOf } from './history.ts';
import { resolveModel } from './resolve.ts';

export interface AliasFollowerOptions {
  database: Database;
  fleet: Fleet;
  registry: RpcClient<typeof RegistryService>;
  logger: Logger;
  /** How often aliases are resolved without an event, in milliseconds. */
  intervalMs: number;
}

/**
 * Rolls deployments that were declared with an alias when it moves. Events tell of moves at once; what was missed
 * while this process or the broker was away is found by resolving all aliases now and then.
 */
export class AliasFollower implements AsyncDisposable {
  readonly #options: AliasFollowerOptions;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  constructor(options: AliasFollowerOptions) {
    this.#options = options;
  }

  start(): void {
    this.#running = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Looks where an alias (`models:/name@alias`) points, for each deployment that follows it. */
  async follow(tenant: string, alias: string): Promise<void> {
    for (const row of this.#options.fleet.deployments.following(tenant)) {
      if (row.alias === alias) await this.#look(tenant, row.name, alias);
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { fleet, logger, intervalMs } = this.#options;
    while (!signal.aborted) {
      for (const { tenant, name, alias } of fleet.deployments.following()) {
        if (signal.aborted) return;
        await this.#look(tenant, name, alias).catch((error) => {
          if (!signal.aborted)
            logger.warn({ err: error, tenant, name, alias }, 'an alias can not be resolved');
        });
      }
      await delay(intervalMs, undefined, { signal, ref: false }).catch(() => {});
    }
  }

  async #look(tenant: string, name: string, alias: string): Promise<void> {
    const { database, fleet, registry, logger } = this.#options;
    const identity = { subject: 'service:balancer', tenant, role: Role.SERVICE };
    const to = await resolveModel(registry, alias, { identity, signal: this.#stopping.signal });
    const row = await database.transaction(async (em) => {
      const known = await lockDeployment(em, tenant, name);
      // Only a move counts: what was undone, or changed by hand, stays until the alias points elsewhere.
      if (known.alias !== alias || known.aliasModel === to.model) return undefined;
      const seen = { aliasModel: to.model };
      const declared = declaredOf(known);
      if (declared.model === to.model) return change(em, known, seen);
      return retarget(em, known, { ...to, variant: declared.variant }, 'alias moved', seen);
    });
    if (!row) return;
    logger.info({ tenant, name, alias, model: to.model }, 'a deployment follows its alias');
    fleet.apply(row);
  }
}
