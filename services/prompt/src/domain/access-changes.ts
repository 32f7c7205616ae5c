import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { PromptAccessChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { LockMode } from '@mikro-orm/core';
import { type AccessRow, AccessSchema } from '../db/access-entities.ts';
import { type Change, record } from './audit.ts';
import type { Target } from './targets.ts';

/** The row of a target, made where there is none, and locked: changes of one target come one after the other. */
export async function lockAccess(em: EntityManager, tenant: string, target: Target): Promise<AccessRow> {
  const fresh = { tenant, target, restricted: false, revision: 0 };
  await em.upsert(AccessSchema, fresh, { onConflictAction: 'ignore' });
  const key = { tenant, target };
  return em.findOneOrFail(AccessSchema, key, { lockMode: LockMode.PESSIMISTIC_WRITE, refresh: true });
}

/** Records and announces a change of a target's rights or protections. The row must be locked. */
export async function accessChanged(em: EntityManager, row: AccessRow, change: Change): Promise<void> {
  row.revision += 1;
  await em.flush();
  await record(em, change);
  const { tenant, target, action, item = '', before = '', after = '', subject } = change;
  await announce(em, 'prompt', {
    subject: 'landfall.prompt.access.changed.v1',
    schema: PromptAccessChangedSchema,
    payload: create(PromptAccessChangedSchema, {
      ...{ tenant, target, item, before, after },
      change: action,
      revision: BigInt(row.revision),
      author: subject,
    }),
  });
}
