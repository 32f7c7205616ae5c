import { invalidArgument, resourceExhausted } from '@landfall/common/errors/errors.ts';
import type { EntryInput } from '@landfall/proto/landfall/vision/v1/collection_pb.js';
import {
  collectionReply,
  findCollection,
  lockCollection,
  requireOwnModel,
} from '../../collections/find-collection.ts';
import { vectorsOf } from '../../collections/meaning.ts';
import { vectorBytes } from '../../collections/vectors.ts';
import type { CollectionRoute } from '../../context.ts';
import { CollectionEntryEntity } from '../../db/collection-entities.ts';
import { collectionNotFound } from '../../errors.ts';

/** Of a collection. */
const MOST_ENTRIES = 1_000_000;

export const putEntries: CollectionRoute<'putEntries'> =
  (context) =>
  async ({ collection: name, entries, vectorModel }, { identity: { tenant }, signal }) => {
    const { database, indexes } = context;
    checkIds(entries);
    const found = await database.read((em) => findCollection(em, tenant, name));
    requireOwnModel(found, vectorModel);
    const placed = entries.map((meaning, i) => ({ path: `entries[${i}].`, meaning }));
    const vectors = await vectorsOf(context, found, placed, signal);
    signal.throwIfAborted();
    const { row, replaced } = await database.transaction(async (em) => {
      const row = await lockCollection(em, tenant, name);
      // Deleted and made again in the meantime, maybe with another model.
      if (row.id !== found.id) throw collectionNotFound(name);
      const ids = entries.map(({ id }) => id);
      const key = { collection: row.id, id: { $in: ids } };
      const before = await em.find(CollectionEntryEntity, key, { fields: ['label'] });
      const count = row.entries + entries.length - before.length;
      if (count > MOST_ENTRIES) {
        throw resourceExhausted(`a collection has at most ${MOST_ENTRIES} entries; this would be ${count}`, {
          reason: 'COLLECTION_FULL',
        });
      }
      await em.nativeDelete(CollectionEntryEntity, key);
      await em.insertMany(
        CollectionEntryEntity,
        entries.map(({ id, metadata }, i) => ({
          ...{ collection: row.id, id, label: row.lastLabel + 1 + i },
          ...{ vector: vectorBytes(vectors[i]!), metadata: JSON.stringify(metadata) },
        })),
      );
      Object.assign(row, { entries: count, lastLabel: row.lastLabel + entries.length });
      await em.flush();
      return { row, replaced: before.map(({ label }) => label) };
    });
    await indexes.remove(row, replaced);
    await indexes.follow(row, row.lastLabel, signal);
    return { collection: collectionReply(row) };
  };

function checkIds(entries: readonly EntryInput[]): void {
  const seen = new Set<string>();
  for (const [i, { id }] of entries.entries()) {
    if (seen.has(id)) throw invalidArgument(`entries[${i}].id`, `'${id}' stands twice in this request`);
    seen.add(id);
  }
}
