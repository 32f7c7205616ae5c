import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Database } from '@landfall/common/db/database.ts';
import type { ReplicaReplacedSchema } from '@landfall/proto/landfall/event/v1/events_pb.js';
import { wrap } from '@mikro-orm/core';
import { ReplicaEntity, type ReplicaRow } from '../db/entities.ts';
import { announceReplaced } from './events.ts';

/** Which replicas were started, so that the next balancer finds them. */
export class ReplicaStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Oldest first. */
  async all(): Promise<ReplicaRow[]> {
    const rows = await this.#database.read((em) =>
      em.find(ReplicaEntity, {}, { orderBy: { createdMs: 'asc' } }),
    );
    return rows.map((row) => wrap(row).toPOJO() as ReplicaRow);
  }

  async insert(row: ReplicaRow): Promise<void> {
    await this.#database.read((em) => em.insert(ReplicaEntity, { ...row }));
  }

  async update(id: string, change: Partial<ReplicaRow>): Promise<void> {
    await this.#database.read((em) => em.nativeUpdate(ReplicaEntity, { id }, change));
  }

  /** Announces that a replica which serves is replaced, and why. */
  async announceReplaced(facts: MessageInitShape<typeof ReplicaReplacedSchema>): Promise<void> {
    await this.#database.transaction((em) => announceReplaced(em, facts));
  }

  async delete(id: string): Promise<void> {
    await this.#database.read((em) => em.nativeDelete(ReplicaEntity, { id }));
  }
}
