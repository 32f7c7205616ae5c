import type { Route } from '../context.ts';
import { checkDraft } from '../domain/draft.ts';
import { lint } from '../domain/lint.ts';

export const lintPrompt: Route<'lintPrompt'> =
  () =>
  ({ draft }) => ({ findings: lint(checkDraft(draft!)) });
