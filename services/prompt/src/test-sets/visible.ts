import type { EntityManager } from '@landfall/common/db/database.ts';
import { LandfallError, notFound } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import type { TestSetRecord } from '../db/evaluation-entities.ts';
import { requireRight } from '../domain/rights.ts';

/** The prompt whose invocations or tests a set was made from. */
const promptOf = ({ source }: TestSetRecord): string | undefined => /^prompts:\/([^/]+)/.exec(source)?.[1];

/**
 * Whether a caller may know of a set: one that holds what a prompt was asked and answered is shown to those who may see
 * that prompt; all others belong to the tenant.
 */
export async function isVisible(em: EntityManager, identity: Identity, set: TestSetRecord): Promise<boolean> {
  const prompt = promptOf(set);
  if (prompt === undefined) return true;
  try {
    await requireRight(em, identity, prompt, 'viewer');
    return true;
  } catch (error) {
    if (error instanceof LandfallError) return false;
    throw error;
  }
}

/** @throws LandfallError NOT_FOUND, as if it were not there */
export async function requireVisible(
  em: EntityManager,
  identity: Identity,
  set: TestSetRecord,
): Promise<void> {
  if (await isVisible(em, identity, set)) return;
  throw notFound(`there is no test set '${set.name}'`, { reason: 'TEST_SET_NOT_FOUND' });
}
