import { BatchEntity } from './batch-entities.ts';
import { collectionEntities } from './collection-entities.ts';
import { inspectionEntities } from './inspection-entities.ts';
import { profileEntities } from './profile-entities.ts';

export const visionEntities = [...profileEntities, ...inspectionEntities, ...collectionEntities, BatchEntity];
