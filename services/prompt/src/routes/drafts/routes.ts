import type { PromptContext } from '../../context.ts';
import { deleteDraft } from './delete-draft.ts';
import { getDraft } from './get-draft.ts';
import { listDrafts } from './list-drafts.ts';
import { publishDraft } from './publish-draft.ts';
import { saveDraft } from './save-draft.ts';

/** The methods of PromptDraftService. */
export const draftRoutes = (context: PromptContext) => ({
  saveDraft: saveDraft(context),
  getDraft: getDraft(context),
  listDrafts: listDrafts(context),
  deleteDraft: deleteDraft(context),
  publishDraft: publishDraft(context),
});
