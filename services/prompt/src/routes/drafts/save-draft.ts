import { create } from '@bufbuild/protobuf';
import { once } from '@landfall/common/db/idempotency.ts';
import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import {
  SaveDraftRequestSchema,
  SaveDraftResponseSchema,
} from '@landfall/proto/landfall/prompt/v1/draft_service_pb.js';
import type { DraftRoute } from '../../context.ts';
import { DraftSchema } from '../../db/contents-entities.ts';
import { storeDraft } from '../../domain/draft.ts';
import { draftReply, MOST_DRAFTS, requireRevision } from '../../domain/drafts.ts';
import { requireRight } from '../../domain/rights.ts';
import { lockPrompt } from '../../domain/versions.ts';

export const saveDraft: DraftRoute<'saveDraft'> =
  ({ database }) =>
  (request, { identity }) => {
    const { tenant, subject: author } = identity;
    const { prompt: name, draftName } = request;
    const call = {
      tenant,
      method: 'landfall.prompt.v1.PromptDraftService/SaveDraft',
      requestId: request.requestId,
      input: SaveDraftRequestSchema,
      output: SaveDraftResponseSchema,
    };
    return database.transaction(async (em) => {
      const prompt = await requireRight(em, identity, name, 'editor');
      return once(em, call, request, async () => {
        // Drafts of a prompt are saved one after the other, or two would both be its first.
        await lockPrompt(em, prompt);
        const before = await em.findOne(DraftSchema, { tenant, name, draftName });
        requireRevision(before, Number(request.revision));
        if (!before && (await em.count(DraftSchema, { tenant, name })) >= MOST_DRAFTS) {
          throw failedPrecondition(
            `prompt '${name}' has ${MOST_DRAFTS} drafts, which is the most; publish or delete one`,
          );
        }
        const now = Date.now();
        const next = {
          content: storeDraft(request.draft!),
          baseVersion: request.baseVersion || (before?.baseVersion ?? prompt.latestVersion),
          revision: (before?.revision ?? 0) + 1,
          author,
          updatedMs: now,
        };
        const row = before
          ? Object.assign(before, next)
          : em.create(DraftSchema, { tenant, name, draftName, createdMs: now, ...next });
        await em.flush();
        return create(SaveDraftResponseSchema, { draft: await draftReply(em, identity, prompt, row) });
      });
    });
  };
