import type { EntityManager } from '@landfall/common/db/database.ts';
import { permissionDenied } from '@landfall/common/errors/errors.ts';
import type { Identity } from '@landfall/common/identity/identity.ts';
import { LabelMoveKind, LabelMoveState } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { DecisionSchema, type MoveRequestRow } from '../db/access-entities.ts';
import { passGates } from './gates.ts';
import { moveLabel, versionOf } from './label-moves.ts';
import { findRequest, requestChanged, requirePending } from './move-requests.ts';
import { demandOf, isApprover } from './protections.ts';
import type { FoundRequest } from './rights-on-moves.ts';
import { lockPrompt } from './versions.ts';

/**
 * What a second person says to a request. One rejection ends it; the last approval that it takes moves the label.
 * @throws LandfallError PERMISSION_DENIED, FAILED_PRECONDITION for one that has ended or that a gate holds back
 */
export async function decide(
  em: EntityManager,
  identity: Identity,
  { prompt, row: seen, isOwner }: FoundRequest,
  { approve, reason }: { approve: boolean; reason: string },
): Promise<MoveRequestRow> {
  await lockPrompt(em, prompt);
  const row = await findRequest(em, seen.tenant, seen.id);
  const { subject } = identity;
  // As demanding as it is now, whatever it was when this was asked for.
  const demand = await demandOf(em, prompt, row.label);
  if (row.author === subject) {
    throw permissionDenied('who asked for a move does not decide on it; WithdrawLabelMove takes it back', {
      reason: 'SECOND_PERSON_NEEDED',
    });
  }
  if (!isOwner && !(demand && isApprover(identity, demand))) {
    throw permissionDenied(
      `only owners of prompts/${row.name}${demand ? ' and the approvers that ListProtections shows' : ''} decide on this move`,
      { reason: 'NO_APPROVER' },
    );
  }
  requirePending(row);
  await em.upsert(DecisionSchema, {
    ...{ requestId: row.id, author: subject, approve, reason },
    createdMs: Date.now(),
  });
  if (!approve) {
    const action = 'move.rejected';
    await requestChanged(em, row, { state: LabelMoveState.REJECTED, subject, action, reason });
    return row;
  }
  row.approvalsNeeded = demand?.approvals ?? 1;
  const approvals = await em.count(DecisionSchema, { requestId: row.id, approve: true });
  const isEnough = approvals >= row.approvalsNeeded;
  if (isEnough) {
    await passGates(em, prompt, row.label, await versionOf(em, prompt, row.toVersion));
    const move = { label: row.label, version: row.toVersion, author: subject, reason };
    await moveLabel(em, prompt, move, { kind: LabelMoveKind.APPROVED, moveId: row.id });
  }
  const state = isEnough ? LabelMoveState.APPLIED : LabelMoveState.PENDING;
  await requestChanged(em, row, { state, subject, action: 'move.approved', reason });
  return row;
}
