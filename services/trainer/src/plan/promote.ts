import type { Identity } from '@landfall/common/identity/identity.ts';
import { Kind } from '@landfall/proto/landfall/registry/v1/model_pb.js';
import type { TuningPlan } from '@landfall/proto/landfall/trainer/v1/plan_pb.js';
import type { TrainerContext } from '../context.ts';

/**
 * Takes the version that met the goal to production: the alias moves to it, and a deployment serves it. Every step may
 * be repeated; what was done once under this plan's name is not done again.
 *
 * @param id of the plan
 * @throws LandfallError when the registry or the balancer refuses, or the deployment does not come to answer
 */
export async function promote(
  { registry, deployments, replicas }: TrainerContext,
  id: string,
  { bestVersion, options }: TuningPlan,
  identity: Identity,
  signal: AbortSignal,
): Promise<void> {
  const call = { identity, signal };
  const version = await registry.version(bestVersion, 'best_version', call);
  const { alias = '', deployment = '' } = options ?? {};
  if (alias !== '') await registry.setAlias(version, alias, `plan-${id}-alias`, call);
  if (deployment === '') return;
  const base = version.kind === Kind.ADAPTER ? version.lineage!.base : version.ref;
  const found = await deployments.find(deployment, call);
  if (found && version.kind === Kind.ADAPTER && found.model === base) {
    // The deployment of the base answers for its adapters; it only has to have this one at hand.
    await deployments.ready(deployment, base, signal, call);
    await replicas.of(base, { identity }).load(version.ref, signal);
    return;
  }
  const count = await deployments.replicasOf(base, call);
  await deployments.serve(deployment, version.ref, count, `plan-${id}-deploy`, call);
  await deployments.ready(deployment, version.ref, signal, call);
}
