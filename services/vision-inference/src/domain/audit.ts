import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { v7 as uuidv7 } from 'uuid';
import { AuditEntity } from '../db/profile-entities.ts';

/** A change to be put on record. */
export interface Change {
  /** `profile.put`, `review.claimed`, ... */
  action: string;
  /** `profiles/NAME` or `reviews/ID`. */
  target: string;
  /** What came of it, short; never what an image shows. */
  detail: string;
}

/** Puts a change on record, in the transaction that makes it. */
export async function record(
  em: EntityManager,
  { tenant, subject }: Pick<Identity, 'tenant' | 'subject'>,
  change: Change,
): Promise<void> {
  await em.insert(AuditEntity, { id: uuidv7(), tenant, subject, ...change, createdMs: Date.now() });
}
