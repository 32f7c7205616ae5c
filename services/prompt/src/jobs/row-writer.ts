import type { Database, EntityManager } from '@landfall/common/db/database.ts';

const LINGER_MS = 50;
const BATCH = 100;

/**
 * Writes rows behind the work that makes them, many to a transaction. A process that is killed loses those of the last
 * moment, and does their work again.
 */
export class RowWriter<Row> {
  readonly #database: Database;
  readonly #write: (em: EntityManager, rows: Row[]) => Promise<void>;
  #waiting: Row[] = [];
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | undefined;

  constructor(database: Database, write: (em: EntityManager, rows: Row[]) => Promise<void>) {
    this.#database = database;
    this.#write = write;
  }

  /** Takes a row. @throws what an earlier write has failed with */
  add(row: Row): void {
    if (this.#failure) throw this.#failure.error;
    this.#waiting.push(row);
    if (this.#waiting.length >= BATCH) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), LINGER_MS);
  }

  /** Resolves when all rows are committed. @throws what a write has failed with */
  async settle(): Promise<void> {
    this.#flush();
    await this.#writing;
    if (this.#failure) throw this.#failure.error;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const rows = this.#waiting;
    if (rows.length === 0) return;
    this.#waiting = [];
    this.#writing = this.#writing
      .then(() => this.#database.transaction((em) => this.#write(em, rows)))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      });
  }
}
