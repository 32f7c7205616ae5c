import { status } from '@grpc/grpc-js';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { v7 as uuidv7 } from 'uuid';
import type { PromptContext } from '../context.ts';
import { type AuditRow, AuditSchema } from '../db/access-entities.ts';
import type { Target } from './targets.ts';

/** What is put on record, as in PromptAuditRecord. */
export interface Change {
  tenant: string;
  subject: string;
  action: string;
  target: Target;
  item?: string;
  before?: string;
  after?: string;
  beforeDigest?: string;
  afterDigest?: string;
  reason?: string;
}

const OVERRIDE = 'access.overridden';
const HOUR_MS = 3_600_000;

/** Puts a change on record, in the transaction that makes it. @param outcome `OK`, or why it was refused */
export async function record(em: EntityManager, change: Change, outcome = 'OK'): Promise<void> {
  const id = uuidv7();
  await em.insert(AuditSchema, {
    id,
    ...{ item: '', before: '', after: '', beforeDigest: '', afterDigest: '', reason: '' },
    ...change,
    outcome,
    // The id's own time: searches by time go by ids.
    createdMs: Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16),
  } as AuditRow);
}

/**
 * One transaction that makes a change. Where it is refused to who asked, that is put on record too, by itself, since
 * the transaction is gone.
 * @param attempt what the record of a refusal says
 */
export async function onRecord<T>(
  { database, logger }: Pick<PromptContext, 'database' | 'logger'>,
  attempt: Change,
  change: (em: EntityManager) => Promise<T>,
): Promise<T> {
  try {
    return await database.transaction(change);
  } catch (cause) {
    if (cause instanceof LandfallError && isRefusal(cause.code)) {
      await database
        .transaction((em) => record(em, attempt, status[cause.code]))
        .catch((err) => logger.warn({ err, action: attempt.action }, 'a refusal could not be put on record'));
    }
    throw cause;
  }
}

const isRefusal = (code: status) => code === status.PERMISSION_DENIED || code === status.FAILED_PRECONDITION;

/** Notes that an administrator goes past a restriction, once an hour for each target. */
export async function noteOverride(
  em: EntityManager,
  { tenant, subject }: Identity,
  target: Target,
  restrictedBy: Target,
): Promise<void> {
  const createdMs = { $gt: Date.now() - HOUR_MS };
  const known = { tenant, subject, target, action: OVERRIDE, createdMs };
  if ((await em.count(AuditSchema, known)) > 0) return;
  await record(em, { tenant, subject, action: OVERRIDE, target, before: restrictedBy });
}
