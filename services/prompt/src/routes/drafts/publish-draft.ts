import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { aborted } from '@landfall/common/errors/errors.ts';
import {
  PublishDraftRequestSchema,
  PublishDraftResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/draft_service_pb.js';
import type { DraftRoute } from '../../context.ts';
import { changeReplies } from '../../domain/changes.ts';
import { loadDraft } from '../../domain/draft.ts';
import { findDraft, requireRevision } from '../../domain/drafts.ts';
import { prepareDraft } from '../../domain/prepare-draft.ts';
import { versionReply } from '../../domain/replies.ts';
import { requireRight } from '../../domain/rights.ts';
import { addVersion, lockPrompt } from '../../domain/versions.ts';

export const publishDraft: DraftRoute<'publishDraft'> =
  ({ database }) =>
  (request, { identity }) => {
    const call = {
      tenant: identity.tenant,
      method: 'landfall.prompt.v1.PromptDraftService/PublishDraft',
      requestId: request.requestId,
      input: PublishDraftRequestSchema,
      output: PublishDraftResponseSchema,
    };
    return database.transaction(async (em) => {
      const prompt = await requireRight(em, identity, request.prompt, 'editor');
      return once(em, call, request, async () => {
        await lockPrompt(em, prompt);
        const row = await findDraft(em, prompt, request.draftName);
        requireRevision(row, Number(request.revision));
        const draft = await prepareDraft(em, identity, prompt.name, loadDraft(row.content));
        const { latestVersion } = prompt;
        if (row.baseVersion !== latestVersion) {
          throw aborted(
            `version ${latestVersion} is newer than ${row.baseVersion}, from which the draft was begun; compare them with DiffVersions, and save the draft with base_version ${latestVersion}`,
            { reason: 'BASE_CHANGED', metadata: { latestVersion } },
          );
        }
        const added = { number: request.version, draft, author: identity.subject };
        const { version, changes } = await addVersion(em, prompt, added);
        em.remove(row);
        await em.flush();
        return create(PublishDraftResponseSchema, {
          version: await versionReply(em, version),
          changes: changeReplies(changes),
        });
      });
    });
  };
