import type { EntityManager } from '@landfall/common/db/database.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { v7 as uuidv7 } from 'uuid';
import { AuditEntrySchema } from '../db/entities.ts';

/** Records an administrative change in the transaction that makes it. */
export async function audit(
  em: EntityManager,
  caller: Identity,
  method: string,
  resource: string,
): Promise<void> {
  const { tenant, subject } = caller;
  await em.insert(AuditEntrySchema, {
    id: uuidv7(),
    tenant,
    timeMs: Date.now(),
    subject,
    method,
    resource,
    outcome: 'OK',
  });
}
