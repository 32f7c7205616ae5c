import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { ConfigChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { v7 as uuidv7 } from 'uuid';
import { AuditEntrySchema } from '../db/audit-entities.ts';

/** Records and announces a change of configuration in the transaction that makes it: if and only if it was made. */
export async function audit(
  em: EntityManager,
  caller: Identity,
  method: string,
  resource: string,
): Promise<void> {
  const { tenant, subject } = caller;
  await announce(em, 'gateway', {
    subject: 'landfall.gateway.config.changed.v1',
    schema: ConfigChangedSchema,
    payload: create(ConfigChangedSchema, { tenant, author: subject, method, resource }),
  });
  await em.insert(AuditEntrySchema, {
    ...{ id: uuidv7(), tenant, timeMs: Date.now(), subject, method, resource, outcome: 'OK' },
    ...{
      kind: 'change',
      route: method,
      policy: '',
      request: '',
      response: '',
      shard: '',
      seq: null,
      cache: '',
    },
  });
}
