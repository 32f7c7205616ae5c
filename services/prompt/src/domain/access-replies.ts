import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type AccessGrant,
  AccessGrantSchema,
  type AccessTarget,
  AccessTargetSchema,
  type LabelHistoryEntry,
  LabelHistoryEntrySchema,
  type LabelMove,
  LabelMoveSchema,
  type LabelProtection,
  LabelProtectionSchema,
  type PromptAuditRecord,
  PromptAuditRecordSchema,
} from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import {
  type AuditRow,
  DecisionSchema,
  type GrantRow,
  type LabelHistoryRow,
  type MoveRequestRow,
  type ProtectionRow,
} from '../db/access-entities.ts';
import { stateOf } from './move-requests.ts';
import { approversOf } from './protections.ts';
import type { Target } from './targets.ts';

const PROMPTS = 'prompts/';
const FOLDERS = 'folders/';

export function targetReply(target: Target): AccessTarget {
  return target.startsWith(PROMPTS)
    ? create(AccessTargetSchema, { target: { case: 'prompt', value: target.slice(PROMPTS.length) } })
    : create(AccessTargetSchema, { target: { case: 'folder', value: target.slice(FOLDERS.length) } });
}

export const grantReply = ({ target, grantee, level, author, createdMs }: GrantRow): AccessGrant =>
  create(AccessGrantSchema, {
    ...{ target: targetReply(target as Target), grantee, right: level, author },
    createTime: timestampFromMs(createdMs),
  });

export const protectionReply = (row: ProtectionRow): LabelProtection =>
  create(LabelProtectionSchema, {
    target: targetReply(row.target as Target),
    label: row.label,
    approvals: row.approvals,
    approvers: approversOf(row),
    ownerMayUndo: row.ownerMayUndo,
  });

/** Requests with what was said to each, in one more query. */
export async function moveReplies(em: EntityManager, rows: readonly MoveRequestRow[]): Promise<LabelMove[]> {
  if (rows.length === 0) return [];
  const decisions = await em.find(
    DecisionSchema,
    { requestId: { $in: rows.map((row) => row.id) } },
    { orderBy: { createdMs: 'asc', author: 'asc' } },
  );
  return rows.map((row) => {
    const { id, name, label, fromVersion, toVersion, author, reason, approvalsNeeded } = row;
    return create(LabelMoveSchema, {
      ...{ id, name, label, fromVersion, toVersion, author, reason, approvalsNeeded },
      state: stateOf(row),
      decisions: decisions
        .filter((decision) => decision.requestId === id)
        .map(({ author, approve, reason, createdMs }) => ({
          ...{ author, approve, reason },
          createTime: timestampFromMs(createdMs),
        })),
      createTime: timestampFromMs(row.createdMs),
      expireTime: timestampFromMs(row.expiresMs),
      ...(row.endedMs == null ? {} : { endTime: timestampFromMs(row.endedMs) }),
    });
  });
}

export const moveReply = async (em: EntityManager, row: MoveRequestRow): Promise<LabelMove> =>
  (await moveReplies(em, [row]))[0]!;

export function historyReply(row: LabelHistoryRow): LabelHistoryEntry {
  const { name, label, fromVersion, toVersion, kind, author, reason, moveId } = row;
  return create(LabelHistoryEntrySchema, {
    ...{ name, label, fromVersion, toVersion, kind, author, reason, moveId },
    revision: BigInt(row.revision),
    undoes: BigInt(row.undoes),
    createTime: timestampFromMs(row.createdMs),
  });
}

export function auditReply({ createdMs, tenant: _tenant, ...row }: AuditRow): PromptAuditRecord {
  return create(PromptAuditRecordSchema, { ...row, time: timestampFromMs(createdMs) });
}
