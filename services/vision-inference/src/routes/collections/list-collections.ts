import { collectionReply } from '../../collections/find-collection.ts';
import type { CollectionRoute } from '../../context.ts';
import { CollectionEntity } from '../../db/collection-entities.ts';

export const listCollections: CollectionRoute<'listCollections'> =
  ({ database }) =>
  (_request, { identity: { tenant } }) =>
    database.read(async (em) => {
      const rows = await em.find(CollectionEntity, { tenant }, { orderBy: { name: 'asc' } });
      return { collections: rows.map(collectionReply) };
    });
