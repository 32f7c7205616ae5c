import type { ArtifactStore, Blob, PutOptions } from '@landfall/common/artifacts/store.ts';
import type { Database } from '@landfall/common/db/database.ts';
import { VersionFileEntity } from '../db/entities.ts';

/** How many digests are asked for in one query. */
const BATCH = 500;

/**
 * The blobs of the registry: content comes in through here, and what no version refers to goes out. Content is in
 * use from when it begins to come in until the row that refers to it is written, and nothing is deleted meanwhile.
 */
export class Blobs {
  readonly #store: ArtifactStore;
  readonly #database: Database;
  #inUse = 0;
  #deleting: Promise<unknown> = Promise.resolve();
  #unreferenced = new Set<string>();

  constructor(store: ArtifactStore, database: Database) {
    this.#store = store;
    this.#database = database;
  }

  /** Runs `work`, which puts content and then writes the rows that refer to it; nothing is deleted while it runs. */
  async using<T>(work: (put: Put) => Promise<T>): Promise<T> {
    for (let deleting: unknown; deleting !== this.#deleting; ) {
      deleting = this.#deleting;
      await deleting;
    }
    this.#inUse++;
    try {
      return await work((content, options) => this.#store.put(content, options));
    } finally {
      this.#inUse--;
    }
  }

  /** Deletes those of the digests that no version refers to; those that are in use wait for `collect`. */
  async discard(digests: readonly string[]): Promise<number> {
    if (this.#inUse > 0 || digests.length === 0) return 0;
    const deleting = this.#delete(digests);
    this.#deleting = deleting.catch(() => {});
    return deleting;
  }

  /**
   * Deletes what no version has referred to, now and when this was called before. So a blob lives for a whole
   * interval at least, however long another process takes to write its row. Returns how many were deleted.
   */
  async collect(): Promise<number> {
    const before = this.#unreferenced;
    this.#unreferenced = new Set();
    let batch: string[] = [];
    const sift = async () => {
      for (const digest of await this.#withoutReference(batch)) this.#unreferenced.add(digest);
      batch = [];
    };
    for await (const digest of this.#store.list()) {
      batch.push(digest);
      if (batch.length === BATCH) await sift();
    }
    await sift();
    return this.discard([...this.#unreferenced].filter((digest) => before.has(digest)));
  }

  async #delete(digests: readonly string[]): Promise<number> {
    let deleted = 0;
    for (let at = 0; at < digests.length; at += BATCH) {
      for (const digest of await this.#withoutReference(digests.slice(at, at + BATCH))) {
        await this.#store.delete(digest);
        this.#unreferenced.delete(digest);
        deleted++;
      }
    }
    return deleted;
  }

  async #withoutReference(digests: readonly string[]): Promise<string[]> {
    if (digests.length === 0) return [];
    const rows = await this.#database.read((em) =>
      em.find(VersionFileEntity, { digest: { $in: [...digests] } }, { fields: ['digest'] }),
    );
    const referred = new Set(rows.map(({ digest }) => digest));
    return digests.filter((digest) => !referred.has(digest));
  }
}

export type Put = (content: AsyncIterable<Uint8Array>, options?: PutOptions) => Promise<Blob>;
