import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Deployment } from '../db/entities.ts';
import { lockDeployment, retarget } from './deployments.ts';
import { generationBefore } from './history.ts';

/** Goes back to what was served before, by a rollout. @throws LandfallError FAILED_PRECONDITION where there is none */
export async function undoDeployment(
  em: EntityManager,
  tenant: string,
  name: string,
  generation: number,
): Promise<Deployment> {
  const row = await lockDeployment(em, tenant, name);
  const before = await generationBefore(em, row, generation);
  return retarget(em, row, before, `undone to ${before.generation}`);
}
