import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { BalancerContext } from '../context.ts';
import { type ResolvedModel, resolveModel } from './resolve.ts';

/** A deployment by its name, or a model by its reference: one of the two is empty. */
export interface Asked {
  deployment: string;
  model: string;
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
): Promise<() => ResolvedModel> {
  const { tenant } = call.identity;
  if (asked.deployment) {
    fleet.find(tenant, asked.deployment);
    return () => fleet.find(tenant, asked.deployment);
  }
  const served =
    fleet.resolve(tenant, asked.model) ??
    (await resolveModel(registry, asked.model, { context: call }, true));
  return () => served;
}
