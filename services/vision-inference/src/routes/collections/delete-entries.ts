import { lockCollection } from '../../collections/find-collection.ts';
import type { CollectionRoute } from '../../context.ts';
import { CollectionEntryEntity } from '../../db/collection-entities.ts';

export const deleteEntries: CollectionRoute<'deleteEntries'> =
  ({ database, indexes }) =>
  async ({ collection: name, ids }, { identity: { tenant } }) => {
    const { row, gone } = await database.transaction(async (em) => {
      const row = await lockCollection(em, tenant, name);
      const key = { collection: row.id, id: { $in: ids } };
      const found = await em.find(CollectionEntryEntity, key, { fields: ['label'] });
      await em.nativeDelete(CollectionEntryEntity, key);
      row.entries -= found.length;
      await em.flush();
      return { row, gone: found.map(({ label }) => label) };
    });
    await indexes.remove(row, gone);
    return { deleted: gone.length };
  };
