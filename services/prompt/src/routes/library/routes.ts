import type { PromptContext } from '../../context.ts';
import { exportPrompt } from './export-prompt.ts';
import { importPrompt } from './import-prompt.ts';
import { installFromLibrary } from './install-from-library.ts';
import { listLibrary } from './list-library.ts';

/** The methods of PromptLibraryService. */
export const libraryRoutes = (context: PromptContext) => ({
  listLibrary: listLibrary(context),
  installFromLibrary: installFromLibrary(context),
  exportPrompt: exportPrompt(context),
  importPrompt: importPrompt(context),
});
