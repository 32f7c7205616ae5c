import type { Route } from '../context.ts';
import { findVersion } from '../domain/find.ts';
import { promptReply, versionReply } from '../domain/replies.ts';

export const getPrompt: Route<'getPrompt'> =
  ({ database }) =>
  ({ name, version: asked }, { identity: { tenant } }) =>
    database.read(async (em) => {
      const { prompt, version } = await findVersion(em, tenant, name, asked);
      return { prompt: await promptReply(em, prompt), version: await versionReply(em, version) };
    });
