import { create } from '@bufbuild/protobuf';
import type { EntityManager } from '@landfall/common/db/database.ts';
import { failedPrecondition, notFound } from '@landfall/common/errors/errors.ts';
import { announce } from '@landfall/common/events/outbox.ts';
import { LabelMoveChangedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { LabelMoveState } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { DecisionSchema, type MoveRequestRow, MoveRequestSchema } from '../db/access-entities.ts';
import type { PromptRow } from '../db/entities.ts';
import { type Change, record } from './audit.ts';
import { promptTarget } from './targets.ts';

const NAMES = new Map([
  [LabelMoveState.PENDING, 'pending'],
  [LabelMoveState.APPLIED, 'applied'],
  [LabelMoveState.REJECTED, 'rejected'],
  [LabelMoveState.WITHDRAWN, 'withdrawn'],
  [LabelMoveState.SUPERSEDED, 'superseded'],
  [LabelMoveState.EXPIRED, 'expired'],
]);

export const stateName = (state: LabelMoveState): string => NAMES.get(state) ?? '';

/** How a request stands: one that has lapsed is nowhere written down. */
export const stateOf = ({ state, expiresMs }: MoveRequestRow, nowMs = Date.now()): LabelMoveState =>
  state === LabelMoveState.PENDING && expiresMs <= nowMs ? LabelMoveState.EXPIRED : state;

/** @throws LandfallError NOT_FOUND */
export async function findRequest(em: EntityManager, tenant: string, id: string): Promise<MoveRequestRow> {
  const row = await em.findOne(MoveRequestSchema, { id, tenant }, { refresh: true });
  if (!row) throw moveNotFound(id);
  return row;
}

export const moveNotFound = (id: string) =>
  notFound(`there is no label move '${id}'`, { reason: 'LABEL_MOVE_NOT_FOUND' });

/** @throws LandfallError FAILED_PRECONDITION for a request that has come to its end */
export function requirePending(row: MoveRequestRow): void {
  const state = stateOf(row);
  if (state === LabelMoveState.PENDING) return;
  const why =
    state === LabelMoveState.SUPERSEDED
      ? `'${row.label}' has moved since it was asked for`
      : stateName(state);
  throw failedPrecondition(`this label move waits no longer: ${why}; ask anew with RequestLabelMove`, {
    reason: `LABEL_MOVE_${stateName(state).toUpperCase()}`,
  });
}

/** Ends a request, or tells that it goes on, with record and event. */
export async function requestChanged(
  em: EntityManager,
  row: MoveRequestRow,
  { state, ...change }: Pick<Change, 'subject' | 'action' | 'reason'> & { state: LabelMoveState },
): Promise<void> {
  const { tenant, id, name, label, fromVersion, toVersion, approvalsNeeded } = row;
  row.state = state;
  if (state !== LabelMoveState.PENDING) row.endedMs = Date.now();
  await em.flush();
  await record(em, {
    ...{ tenant, target: promptTarget(name), item: label, before: fromVersion, after: toVersion },
    ...change,
  });
  await announce(em, 'prompt', {
    subject: 'landfall.prompt.move.changed.v1',
    schema: LabelMoveChangedSchema,
    payload: create(LabelMoveChangedSchema, {
      ...{ tenant, moveId: id, name, label, version: toVersion, approvalsNeeded },
      state: stateName(state),
      approvals: await em.count(DecisionSchema, { requestId: id, approve: true }),
      author: change.subject,
    }),
  });
}

/** Ends the requests for a label that has just moved otherwise. @param moveId the one that it moved by */
export async function supersede(
  em: EntityManager,
  { tenant, name }: PromptRow,
  label: string,
  moveId: string,
): Promise<void> {
  const now = Date.now();
  const where = { tenant, name, label, state: LabelMoveState.PENDING, expiresMs: { $gt: now } };
  for (const row of await em.find(MoveRequestSchema, where, { refresh: true })) {
    if (row.id === moveId) continue;
    const subject = 'service:prompt';
    await requestChanged(em, row, { state: LabelMoveState.SUPERSEDED, subject, action: 'move.superseded' });
  }
}
