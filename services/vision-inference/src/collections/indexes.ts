import { mkdirSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '@landfall/common/db/database.ts';
import { unavailable } from '@landfall/common/errors/errors.ts';
import { unlessAborted } from '@landfall/common/lifecycle/unless-aborted.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { CollectionEntity, CollectionEntryEntity, type CollectionRow } from '../db/collection-entities.ts';
import type { Filter } from '../engine/search-index/filter.ts';
import type { IndexThread } from '../engine/search-index/index-thread.ts';
import type { Found } from '../engine/search-index/nearest.ts';
import type { Described } from '../engine/search-index/protocol.ts';
import { vectorOf } from './vectors.ts';

/** Entries read at once. */
const PAGE = 500;
/** Changes after which an index is saved, at least; and as a share of what is in it. */
const SAVE_CHANGES = 5000;
const SAVE_SHARE = 0.25;
/** Smaller ones are made anew as fast as they are read. */
const SAVE_ENTRIES = 2000;

export interface IndexesOptions {
  database: Database;
  thread: IndexThread;
  logger: Logger;
  /** Where indexes are saved. */
  folder: string;
  /** Of indexes in memory; what was not asked for the longest goes first. */
  limitBytes: number;
}

interface Open {
  dimensions: number;
  /** Entries up to this label are in the index. */
  applied: number;
  size: number;
  /** Since it was saved. */
  changes: number;
  /** Changes come one after the other. */
  last: Promise<void>;
}

export interface IndexSearch {
  label: number;
  query: Float32Array;
  most: number;
  filter: Filter | undefined;
}

type Key = Pick<CollectionRow, 'id' | 'dimensions'>;

/**
 * The indexes of collections. The database says what is in a collection; an index follows it by the labels that count
 * up, so it may be lost, old or another process's work, and is made up for before the next search.
 */
export class CollectionIndexes implements AsyncDisposable {
  readonly #options: IndexesOptions;
  /** In order of use. */
  readonly #open = new Map<string, Open>();
  #closing = false;

  constructor(options: IndexesOptions) {
    this.#options = options;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
  }

  /** Removes what was saved of collections that are gone. */
  async collect(): Promise<void> {
    const { folder, database } = this.#options;
    const known = await database.read((em) => em.find(CollectionEntity, {}, { fields: ['id'] }));
    const ids = new Set(known.map(({ id }) => id));
    for (const name of await readdir(folder))
      if (!ids.has(name)) await rm(join(folder, name), { recursive: true, force: true });
  }

  /** Waits until entries up to a label are in the index; the work goes on when the caller leaves. */
  async follow(collection: Key, label: number, signal: AbortSignal): Promise<void> {
    const open = this.#use(collection);
    if (open.applied >= label) return;
    await unlessAborted(
      this.#change(open, () => this.#catchUp(collection, open, label)),
      signal,
    );
    this.#endOthers(collection.id);
  }

  /**
   * The nearest entries, best first, among those up to a label at least; some may be gone from the database since.
   * @param query of length 1
   */
  async search(collection: Key, search: IndexSearch, signal: AbortSignal): Promise<readonly Found[]> {
    const { id } = collection;
    const { label, query, most, filter } = search;
    // Out of memory again before its turn came: others asked for more than there is room for.
    while ((this.#open.get(id)?.applied ?? -1) < label) await this.follow(collection, label, signal);
    this.#use(collection);
    return this.#options.thread.ask({ type: 'search', index: id, query, most, filter });
  }

  /** Takes entries out that are gone from the database. */
  async remove(collection: Key, labels: readonly number[]): Promise<void> {
    const open = this.#open.get(collection.id);
    if (!open || labels.length === 0) return;
    await this.#change(open, async () => {
      // Not loaded: it will be, without them.
      if (open.applied < 0) return;
      open.size = await this.#options.thread.ask({ type: 'remove', index: collection.id, labels });
      open.changes += labels.length;
    });
  }

  /** Forgets a collection that is deleted, saved form and all. */
  async drop({ id }: Key): Promise<void> {
    const open = this.#open.get(id);
    this.#open.delete(id);
    const forget = async () => {
      await this.#options.thread.ask({ type: 'forget', index: id });
      await rm(this.#folder(id), { recursive: true, force: true });
    };
    await (open ? this.#change(open, forget) : forget());
  }

  /** Saves what has changed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing = true;
    for (const [id, open] of this.#open)
      await this.#change(open, () => this.#save(id, open, 1)).catch((error) => this.#log(error));
    await this.#options.thread.close();
  }

  #use({ id, dimensions }: Key): Open {
    const open = this.#open.get(id) ?? {
      ...{ dimensions, applied: -1, size: 0, changes: 0, last: Promise.resolve() },
    };
    this.#open.delete(id);
    this.#open.set(id, open);
    return open;
  }

  #change(open: Open, work: () => Promise<void>): Promise<void> {
    const done = open.last.then(work);
    open.last = done.catch(() => {});
    return done;
  }

  async #catchUp(collection: Key, open: Open, label: number): Promise<void> {
    const { id } = collection;
    if (open.applied < 0) await this.#load(collection, open);
    const { database, thread } = this.#options;
    while (open.applied < label) {
      if (this.#closing) throw unavailable('this service is ending; try again');
      const rows = await database.read((em) =>
        em.find(
          CollectionEntryEntity,
          { collection: id, label: { $gt: open.applied } },
          { orderBy: { label: 'asc' }, limit: PAGE },
        ),
      );
      const entries = rows.map((row) => ({
        label: row.label,
        vector: vectorOf(row.vector),
        metadata: JSON.parse(row.metadata) as Record<string, string>,
      }));
      open.size = await thread.ask({ type: 'put', index: id, entries });
      open.changes += entries.length;
      // Behind the last row there may be labels of entries that are gone already.
      open.applied = rows.length < PAGE ? Math.max(label, rows.at(-1)?.label ?? 0) : rows.at(-1)!.label;
      await this.#save(id, open, Math.max(SAVE_CHANGES, open.size * SAVE_SHARE));
    }
  }

  /** What was saved, less what is gone; what it lacks among the labels that it could have is put. */
  async #load(collection: Key, open: Open): Promise<void> {
    const { id, dimensions } = collection;
    const { thread, logger } = this.#options;
    const entries = await this.#described(id);
    const folder = this.#folder(id);
    const known = await thread.ask({ type: 'open', index: id, dimensions, folder, entries });
    const has = new Set(known);
    const missing = entries.flatMap(([label]) => (has.has(label) ? [] : [label]));
    // Labels are put in their order, so what is missing lies behind what is there: but for what a save passed over.
    open.applied = missing.length > 0 ? missing[0]! - 1 : (entries.at(-1)?.[0] ?? 0);
    open.size = known.length;
    open.changes = 0;
    logger.info(
      { event: 'index.opened', entries: entries.length, restored: known.length, behind: missing.length },
      'index of a collection opened',
    );
  }

  async #described(id: string): Promise<Described[]> {
    const found: Described[] = [];
    for (let after = -1; ; ) {
      const rows = await this.#options.database.read((em) =>
        em.find(
          CollectionEntryEntity,
          { collection: id, label: { $gt: after } },
          { fields: ['label', 'metadata'], orderBy: { label: 'asc' }, limit: 10 * PAGE },
        ),
      );
      for (const { label, metadata } of rows) found.push([label, JSON.parse(metadata)]);
      if (rows.length < 10 * PAGE) return found;
      after = rows.at(-1)!.label;
    }
  }

  async #save(id: string, open: Open, leastChanges: number): Promise<void> {
    if (open.changes < leastChanges || open.size < SAVE_ENTRIES) return;
    await this.#options.thread.ask({ type: 'save', index: id, folder: this.#folder(id) });
    open.changes = 0;
  }

  /** Indexes beyond the limit go out of memory, but for the one that is asked for. */
  #endOthers(id: string): void {
    let bytes = 0;
    for (const open of this.#open.values()) bytes += bytesOf(open);
    for (const [other, open] of this.#open) {
      if (bytes <= this.#options.limitBytes) return;
      if (other === id) continue;
      this.#open.delete(other);
      bytes -= bytesOf(open);
      this.#change(open, async () => {
        await this.#save(other, open, 1);
        if (!this.#open.has(other)) await this.#options.thread.ask({ type: 'forget', index: other });
      }).catch((error) => this.#log(error));
    }
  }

  #folder(id: string): string {
    return join(this.#options.folder, id);
  }

  #log(error: unknown): void {
    this.#options.logger.error({ event: 'index.failed', err: error }, 'an index could not be saved');
  }
}

/** A vector in 32 and in 16 bits, and its place in the graph and among the metadata. */
const bytesOf = ({ size, dimensions }: Open) => size * (dimensions * 6 + 600);
