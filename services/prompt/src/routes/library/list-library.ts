import type { LibraryRoute } from '../../context.ts';
import { libraryEntries } from '../../files/library.ts';

export const listLibrary: LibraryRoute<'listLibrary'> =
  () =>
  ({ task, language }) => ({
    entries: libraryEntries().filter(
      (entry) => (!task || entry.task === task) && (!language || entry.language === language),
    ),
  });
