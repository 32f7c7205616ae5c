import type { EntityManager } from '@landfall/common/db/database.ts';
import { alreadyExists, failedPrecondition } from '@landfall/common/errors/errors.ts';
import { LabelMoveState } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import { v7 as uuidv7 } from 'uuid';
import { type MoveRequestRow, MoveRequestSchema } from '../db/access-entities.ts';
import type { PromptRow } from '../db/entities.ts';
import { type LabelMove, labelOf, versionOf } from './label-moves.ts';
import { requestChanged } from './move-requests.ts';
import { demandOf } from './protections.ts';
import { lockPrompt } from './versions.ts';

/** Requests for one label that may wait at once. */
const MOST = 20;

/**
 * Asks for the move of a protected label.
 * @param waitMs how long it waits for a decision
 * @throws LandfallError NOT_FOUND for the version, FAILED_PRECONDITION for a label that is not protected or points there,
 *   ALREADY_EXISTS while the same move is asked for
 */
export async function requestMove(
  em: EntityManager,
  prompt: PromptRow,
  { label, version, author, reason = '' }: LabelMove,
  waitMs: number,
): Promise<MoveRequestRow> {
  await lockPrompt(em, prompt);
  const { tenant, name } = prompt;
  await versionOf(em, prompt, version);
  const now = await labelOf(em, prompt, label);
  if (now?.version === version) {
    throw failedPrecondition(`'${label}' of prompts/${name} points at ${version} already`, {
      reason: 'LABEL_IS_THERE',
    });
  }
  const demand = await demandOf(em, prompt, label);
  if (!demand) {
    throw failedPrecondition(`'${label}' of prompts/${name} is not protected: SetLabel moves it at once`, {
      reason: 'LABEL_NOT_PROTECTED',
    });
  }
  const createdMs = Date.now();
  const waiting = await em.find(MoveRequestSchema, {
    ...{ tenant, name, label, state: LabelMoveState.PENDING },
    expiresMs: { $gt: createdMs },
  });
  const same = waiting.find((row) => row.toVersion === version);
  if (same) {
    throw alreadyExists(`this move waits for approval already, as ${same.id}`, {
      reason: 'LABEL_MOVE_WAITS',
      metadata: { id: same.id },
    });
  }
  if (waiting.length >= MOST) {
    throw failedPrecondition(`${MOST} moves of '${label}' wait already: have some decided or withdrawn`, {
      reason: 'TOO_MANY_LABEL_MOVES',
    });
  }
  const row = em.create(MoveRequestSchema, {
    ...{ id: uuidv7(), tenant, name, label, fromVersion: now?.version ?? '', toVersion: version },
    ...{ state: LabelMoveState.PENDING, author, reason, approvalsNeeded: demand.approvals },
    ...{ createdMs, expiresMs: createdMs + waitMs, endedMs: null },
  });
  const action = 'move.requested';
  await requestChanged(em, row, { state: LabelMoveState.PENDING, subject: author, action, reason });
  return row;
}
