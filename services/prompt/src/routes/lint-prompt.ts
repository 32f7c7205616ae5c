import type { Route } from '../context.ts';
import { prepareDraft } from '../domain/prepare-draft.ts';
import { lint } from '../lint/lint.ts';

export const lintPrompt: Route<'lintPrompt'> =
  ({ database }) =>
  ({ draft, task }, { identity }) =>
    database.read(async (em) => lint(await prepareDraft(em, identity, '', draft!), task));
