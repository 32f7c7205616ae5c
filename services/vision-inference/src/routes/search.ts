import type { Database } from '@landfall/common/db/database.ts';
import { findCollection, requireOwnModel } from '../collections/find-collection.ts';
import { vectorsOf } from '../collections/meaning.ts';
import { readFilter } from '../collections/read-filter.ts';
import type { VisionRoute } from '../context.ts';
import { CollectionEntryEntity } from '../db/collection-entities.ts';

export const search: VisionRoute<'search'> =
  (context) =>
  async (
    { collection: name, topK, filter: asked, vectorModel, ...meaning },
    { identity: { tenant }, signal },
  ) => {
    const { database, indexes } = context;
    const filter = asked && readFilter(asked);
    const row = await database.read((em) => findCollection(em, tenant, name));
    requireOwnModel(row, vectorModel);
    const [query] = await vectorsOf(context, row, [{ path: '', meaning }], signal);
    const wanted = { label: row.lastLabel, query: query!, most: topK || 10, filter };
    for (;;) {
      const found = await indexes.search(row, wanted, signal);
      const entries = await entriesOf(
        database,
        row.id,
        found.map(({ label }) => label),
      );
      const gone = found.flatMap(({ label }) => (entries.has(label) ? [] : [label]));
      if (gone.length === 0) {
        const matches = found.map(({ label, score }) => ({ ...entries.get(label)!, score }));
        return { matches };
      }
      // Another process has deleted them, or this one a moment ago: they make room for those behind them.
      await indexes.remove(row, gone);
      signal.throwIfAborted();
    }
  };

/** What is shown of entries, by label; those that are gone are missing. */
async function entriesOf(database: Database, collection: string, labels: number[]) {
  const rows = await database.read((em) =>
    em.find(
      CollectionEntryEntity,
      { collection, label: { $in: labels } },
      { fields: ['id', 'label', 'metadata'] },
    ),
  );
  return new Map(
    rows.map(({ id, label, metadata }) => [
      label,
      { id, metadata: JSON.parse(metadata) as Record<string, string> },
    ]),
  );
}
