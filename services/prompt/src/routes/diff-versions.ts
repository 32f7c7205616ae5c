import { invalidArgument } from '@landfall/common/errors/errors.ts';
import type { Route } from '../context.ts';
import { weightOf } from '../domain/change.ts';
import { changeReplies, changesBetween } from '../domain/changes.ts';
import { loadDraft } from '../domain/draft.ts';
import { asPublished, findDraft } from '../domain/drafts.ts';
import { findVersion } from '../domain/find.ts';
import { requireRight } from '../domain/rights.ts';
import { turnDiffs } from '../domain/turn-diff.ts';
import { versionBefore } from '../domain/versions.ts';

export const diffVersions: Route<'diffVersions'> =
  ({ database }) =>
  ({ name, from, to, toDraft }, { identity }) => {
    if (to !== '' && toDraft !== '')
      throw invalidArgument('to_draft', 'give either a version or a draft to compare with');
    return database.read(async (em) => {
      const prompt = await requireRight(em, identity, name, 'viewer');
      const saved = toDraft ? await findDraft(em, prompt, toDraft) : undefined;
      const second = saved ? undefined : (await findVersion(em, prompt.tenant, name, to)).version;
      const base = from || saved?.baseVersion || (await versionBefore(em, prompt, second!.version));
      if (!base) {
        throw invalidArgument(
          'from',
          `${second!.version} is the first version of '${name}'; there is none before it`,
        );
      }
      const { version: first } = await findVersion(em, prompt.tenant, name, base);
      const before = loadDraft(first.content);
      const after = saved ? (await asPublished(em, identity, saved)).draft : loadDraft(second!.content);
      const changes = changesBetween(before, after);
      return {
        from: first.version,
        to: second?.version ?? '',
        kind: weightOf(changes),
        changes: changeReplies(changes),
        turns: turnDiffs(before.messages, after.messages),
      };
    });
  };
