import { defineEntity, type InferEntity, p } from '@mikro-orm/core';

/** Inspection of all images of a data set. */
export const BatchEntity = defineEntity({
  name: 'Batch',
  tableName: 'batch',
  properties: {
    /** UUIDv7: in order of time. */
    id: p.text().primary(),
    tenant: p.text(),
    /** BatchState. */
    state: p.integer(),
    profile: p.text(),
    /** The newest when it was begun: all images are inspected alike. */
    profileVersion: p.integer(),
    /** `models:/name/version`, resolved. */
    dataset: p.text(),
    deployment: p.text(),
    line: p.text(),
    total: p.integer(),
    /** Images done, in the order of their paths. */
    done: p.integer(),
    failed: p.integer(),
    defective: p.integer(),
    failure: p.text(),
    author: p.text(),
    /** Role that it was begun with. */
    authorRole: p.integer(),
    /** Process that works on it; another takes it over when the lease has run out. */
    owner: p.text(),
    leaseMs: p.bigint('number'),
    createdMs: p.bigint('number'),
    endedMs: p.bigint('number').nullable(),
    revision: p.bigint('number'),
  },
});
export type BatchRow = InferEntity<typeof BatchEntity>;
