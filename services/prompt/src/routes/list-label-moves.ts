import { afterKey, page, pageSize, UUID } from '@landfall/common/rpc/pages.ts';
import { LabelMoveState } from '@landfall/proto/landfall/prompt/v1/access_pb.js';
import type { FilterQuery } from '@mikro-orm/core';
import type { AccessRoute } from '../context.ts';
import { type MoveRequestRow, MoveRequestSchema } from '../db/access-entities.ts';
import { moveReplies } from '../domain/access-replies.ts';
import { requireRight } from '../domain/rights.ts';
import { visibleTo } from '../domain/visibility.ts';

/** One that has lapsed is kept as one that waits. */
function standing(state: LabelMoveState, now: number) {
  if (state === LabelMoveState.UNSPECIFIED) return {};
  if (state === LabelMoveState.EXPIRED) return { state: LabelMoveState.PENDING, expiresMs: { $lte: now } };
  if (state === LabelMoveState.PENDING) return { state, expiresMs: { $gt: now } };
  return { state };
}

export const listLabelMoves: AccessRoute<'listLabelMoves'> =
  ({ database }) =>
  ({ pageSize: most, pageToken, name, label, state }, { identity }) =>
    database.read(async (em) => {
      const size = pageSize(most);
      const before = afterKey(pageToken, UUID);
      if (name) await requireRight(em, identity, name, 'viewer');
      const visible = name ? undefined : await visibleTo<MoveRequestRow>(em, identity);
      const asked = {
        tenant: identity.tenant,
        ...(before ? { id: { $lt: before } } : {}),
        ...(name ? { name } : {}),
        ...(label ? { label } : {}),
        ...standing(state, Date.now()),
      };
      const where = visible ? ({ $and: [asked, visible] } as FilterQuery<MoveRequestRow>) : asked;
      const found = await em.find(MoveRequestSchema, where, { orderBy: { id: 'desc' }, limit: size + 1 });
      const { rows, nextPageToken } = page(found, size, (row) => row.id);
      return { moves: await moveReplies(em, rows), nextPageToken };
    });
