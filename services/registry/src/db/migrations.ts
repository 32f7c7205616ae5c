import type { PortableMigration } from '@landfall/common/db/migration.ts';
import { catalogMigration } from './migrations/catalog.ts';
import { initialMigration } from './migrations/initial.ts';
import { lifeMigration } from './migrations/life.ts';
import { parentsMigration } from './migrations/parents.ts';
import { removedModelsMigration } from './migrations/removed-models.ts';

/** In the order in which they run. */
export const registryMigrations: readonly PortableMigration[] = [
  initialMigration,
  parentsMigration,
  lifeMigration,
  catalogMigration,
  removedModelsMigration,
];
