import type { Route } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { loadContents } from '../domain/load-parts.ts';
import { renderDraft } from '../domain/render.ts';
import { requireRight } from '../domain/rights.ts';

export const renderPrompt: Route<'renderPrompt'> =
  ({ database, config }) =>
  async ({ name, version: asked, variables }, { identity }) => {
    const { version, draft, parts } = await database.read(async (em) => {
      await requireRight(em, identity, name, 'invoker');
      const { version } = await findVersion(em, identity.tenant, name, asked);
      return { version, ...(await loadContents(em, version)) };
    });
    const rendered = renderDraft(draft, variables ?? {}, config.maxRenderedLength, parts);
    return {
      ...rendered,
      version: version.version,
      parts: [...parts].map(([reference, part]) => ({ reference, name: part.name, version: part.version })),
    };
  };
