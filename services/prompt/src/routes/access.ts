import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type { PromptAccessService } from '@landfall/proto/landfall/prompt/v1/access_service_pb.js';
import type { PromptContext } from '../context.ts';
import { decideLabelMove } from './decide-label-move.ts';
import { explainRight } from './explain-right.ts';
import { grantRight } from './grant-right.ts';
import { listGrants } from './list-grants.ts';
import { listLabelHistory } from './list-label-history.ts';
import { listLabelMoves } from './list-label-moves.ts';
import { listProtections } from './list-protections.ts';
import { movePrompt } from './move-prompt.ts';
import { protectLabel } from './protect-label.ts';
import { requestLabelMove } from './request-label-move.ts';
import { restrictAccess } from './restrict-access.ts';
import { revokeRight } from './revoke-right.ts';
import { searchPromptAudit } from './search-prompt-audit.ts';
import { undoLabelMove } from './undo-label-move.ts';
import { unprotectLabel } from './unprotect-label.ts';
import { withdrawLabelMove } from './withdraw-label-move.ts';

/** All methods of PromptAccessService. */
export const accessRoutes = (context: PromptContext): Implementation<typeof PromptAccessService> => ({
  grantRight: grantRight(context),
  revokeRight: revokeRight(context),
  listGrants: listGrants(context),
  restrictAccess: restrictAccess(context),
  explainRight: explainRight(context),
  movePrompt: movePrompt(context),
  protectLabel: protectLabel(context),
  unprotectLabel: unprotectLabel(context),
  listProtections: listProtections(context),
  requestLabelMove: requestLabelMove(context),
  decideLabelMove: decideLabelMove(context),
  withdrawLabelMove: withdrawLabelMove(context),
  listLabelMoves: listLabelMoves(context),
  listLabelHistory: listLabelHistory(context),
  undoLabelMove: undoLabelMove(context),
  searchPromptAudit: searchPromptAudit(context),
});
