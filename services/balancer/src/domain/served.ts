import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { BalancerContext } from '../context.ts';
import type { Share } from '../control/roles.ts';
import type { Deployment } from '../db/entities.ts';
import { type ResolvedModel, resolveModel, type Served } from './resolve.ts';

/** A deployment by its name, or a model by its reference: one of the two is empty. */
export interface Asked {
  deployment: string;
  model: string;
}

/** Whose replicas are to be asked for what. */
export interface ServedView {
  /** Of a model that was asked for by itself, replicas with any settings will do. */
  served: ResolvedModel & Partial<Served>;
  /** What gets a share of a deployment's calls. */
  share?: Share | undefined;
  /** Where calls go that find no room. */
  overflow?: Deployment | undefined;
  /** Deployments that the replicas are of. */
  rows: readonly Deployment[];
}

export const askedName = ({ deployment, model }: Asked) => model || `deployment '${deployment}'`;

/**
 * What is to be asked of whose replicas. A deployment's model can change from call to call, a model's base never
 * does; a model that no deployment names is looked up in the registry, drafts included, in the caller's name.
 * @throws LandfallError NOT_FOUND
 */
export async function findServed(
  { fleet, registry }: BalancerContext,
  asked: Asked,
  call: CallContext,
): Promise<() => ServedView> {
  const { tenant } = call.identity;
  if (asked.deployment) {
    fleet.deployments.find(tenant, asked.deployment);
    return () => {
      const row = fleet.deployments.find(tenant, asked.deployment);
      const overflow = row.overflow ? fleet.deployments.peek(tenant, row.overflow) : undefined;
      return { served: row, share: fleet.share(row), overflow, rows: overflow ? [row, overflow] : [row] };
    };
  }
  const served =
    fleet.deployments.resolve(tenant, asked.model) ??
    (await resolveModel(registry, asked.model, { context: call }, true));
  return () => ({ served, rows: fleet.deployments.serving(tenant, served.base) });
}
