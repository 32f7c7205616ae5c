import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { EntityManager } from '@landfall/common/db/database.ts';
import {
  type Approval,
  ApprovalSchema,
  type Check,
  CheckSchema,
} from '@landfall/proto/landfall/registry/v1/life_cycle_service_pb.js';
import { v7 as uuidv7 } from 'uuid';
import type { Version } from '../db/entities.ts';
import {
  type VersionApproval,
  VersionApprovalEntity,
  type VersionCheck,
  VersionCheckEntity,
} from '../db/life-entities.ts';
import { ownApproval } from '../errors.ts';
import { formatReference } from './reference.ts';

export type CheckRecord = { check: string; passed: boolean; detail: string; evidence: string };

/** Records a check's outcome; the records before it stay for the history. */
export async function recordCheck(
  em: EntityManager,
  version: Version,
  record: CheckRecord,
  recordedBy: string,
): Promise<VersionCheck> {
  const { check: checkName, passed, detail, evidence } = record;
  const row = em.create(VersionCheckEntity, {
    id: uuidv7(),
    versionId: version.id,
    checkName,
    passed,
    detail,
    evidence,
    recordedBy,
    recordedMs: Date.now(),
  });
  await em.flush();
  return row;
}

/** The newest record of each check of a version, by name. */
export async function newestChecks(em: EntityManager, versionId: string): Promise<VersionCheck[]> {
  const rows = await em.find(VersionCheckEntity, { versionId }, { orderBy: { id: 'asc' } });
  const newest = new Map(rows.map((row) => [row.checkName, row]));
  return [...newest.values()].sort((a, b) => (a.checkName < b.checkName ? -1 : 1));
}

/**
 * Records a person's yes. Returns whether it is new: one person counts once. Throws PERMISSION_DENIED for whoever
 * created the version.
 */
export async function approve(
  em: EntityManager,
  version: Version,
  alias: string,
  approvedBy: string,
  comment: string,
): Promise<boolean> {
  if (approvedBy === version.createdBy) throw ownApproval(formatReference(version.name, version.version));
  const key = { versionId: version.id, alias, approvedBy };
  if (await em.findOne(VersionApprovalEntity, key)) return false;
  em.create(VersionApprovalEntity, { ...key, comment, approvedMs: Date.now() });
  await em.flush();
  return true;
}

/** Approvals of a version, oldest first; for one alias, or for all. */
export async function approvalsOf(
  em: EntityManager,
  versionId: string,
  alias?: string,
): Promise<VersionApproval[]> {
  const where = { versionId, ...(alias !== undefined && { alias }) };
  return em.find(VersionApprovalEntity, where, { orderBy: { approvedMs: 'asc', approvedBy: 'asc' } });
}

export function checkReply(row: VersionCheck): Check {
  const { checkName, passed, detail, evidence, recordedBy, recordedMs } = row;
  const recordTime = timestampFromMs(recordedMs);
  return create(CheckSchema, { check: checkName, passed, detail, evidence, recordedBy, recordTime });
}

export function approvalReply({ alias, approvedBy, approvedMs, comment }: VersionApproval): Approval {
  return create(ApprovalSchema, { alias, approvedBy, approveTime: timestampFromMs(approvedMs), comment });
}
