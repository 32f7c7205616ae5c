import type { Route } from '../context.ts';
import { loadDraft } from '../domain/draft.ts';
import { findVersion } from '../domain/find.ts';
import { render } from '../domain/render.ts';

export const renderPrompt: Route<'renderPrompt'> =
  ({ database, config }) =>
  async ({ name, version: asked, variables }, { identity: { tenant } }) => {
    const { version } = await database.read((em) => findVersion(em, tenant, name, asked));
    const messages = render(loadDraft(version.content), variables ?? {}, config.maxRenderedLength);
    return { messages, version: version.version };
  };
