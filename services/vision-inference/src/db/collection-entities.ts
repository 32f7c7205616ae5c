import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

export const CollectionEntity = defineEntity({
  name: 'Collection',
  tableName: 'collection',
  properties: {
    /** UUID; a name that is deleted and taken again is another collection. */
    id: p.text().primary(),
    tenant: p.text(),
    name: p.text(),
    /** `models:/name/version`; empty where vectors are brought along. */
    model: p.text(),
    dimensions: p.integer(),
    description: p.text(),
    author: p.text(),
    createdMs: p.bigint('number'),
    entries: p.integer(),
    /** Given to the newest entry; counts up with each that is put, in the order of commits. */
    lastLabel: p.bigint('number'),
  },
});
export type CollectionRow = InferEntity<typeof CollectionEntity>;

/** An entry. One that is replaced gets a new label: a label means one vector for ever. */
export const CollectionEntryEntity = defineEntity({
  name: 'CollectionEntry',
  tableName: 'collection_entry',
  properties: {
    collection: p.text().primary(),
    id: p.text().primary(),
    label: p.bigint('number'),
    /** Of length 1: float32, little endian. */
    vector: p.uint8array(),
    /** A JSON object of texts. */
    metadata: p.text(),
  },
});
export type CollectionEntryRow = InferEntity<typeof CollectionEntryEntity>;

export const collectionEntities = [CollectionEntity, CollectionEntryEntity];
