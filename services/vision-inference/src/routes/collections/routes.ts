import type { Implementation } from '@landfall/common/rpc/implementation.ts';
import type { CollectionService } from '@landfall/proto/landfall/vision/v1/collection_service_pb.js';
import type { VisionContext } from '../../context.ts';
import { createCollection } from './create-collection.ts';
import { deleteCollection } from './delete-collection.ts';
import { deleteEntries } from './delete-entries.ts';
import { getCollection } from './get-collection.ts';
import { listCollections } from './list-collections.ts';
import { putEntries } from './put-entries.ts';

/** All methods of CollectionService. */
export const collectionRoutes = (context: VisionContext): Implementation<typeof CollectionService> => ({
  createCollection: createCollection(context),
  getCollection: getCollection(context),
  listCollections: listCollections(context),
  deleteCollection: deleteCollection(context),
  putEntries: putEntries(context),
  deleteEntries: deleteEntries(context),
});
