import { collectionReply, findCollection } from '../../collections/find-collection.ts';
import type { CollectionRoute } from '../../context.ts';

export const getCollection: CollectionRoute<'getCollection'> =
  ({ database }) =>
  ({ collection }, { identity: { tenant } }) =>
    database.read(async (em) => ({
      collection: collectionReply(await findCollection(em, tenant, collection)),
    }));
