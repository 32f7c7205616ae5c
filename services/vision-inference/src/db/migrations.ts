import { batchesMigration } from './migrations/batches.ts';
import { collectionsMigration } from './migrations/collections.ts';
import { countsMigration } from './migrations/counts.ts';
import { inspectionsMigration } from './migrations/inspections.ts';
import { profilesMigration } from './migrations/profiles.ts';

export const visionMigrations = [
  profilesMigration,
  inspectionsMigration,
  collectionsMigration,
  batchesMigration,
  countsMigration,
];
