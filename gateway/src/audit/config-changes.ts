import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { AuditEntrySchema } from '../db/audit-entities.ts';
import type { AuditLog } from './audit-log.ts';

const BATCH = 100;

/**
 * Carries changes from the transactions that made them to the log. A process that dies in between carries them again
 * when it starts: a change may then have two lines, of one id.
 */
export class ConfigChanges {
  readonly #database: Database;
  readonly #log: AuditLog;
  readonly #logger: Logger;
  readonly #committed = () => this.#carry();
  #carrying: Promise<void> = Promise.resolve();
  #again = false;
  #busy = false;

  constructor(database: Database, log: AuditLog, logger: Logger) {
    this.#database = database;
    this.#log = log;
    this.#logger = logger;
  }

  start(): void {
    this.#database.onCommit.add(this.#committed);
    this.#carry();
  }

  async stop(): Promise<void> {
    this.#database.onCommit.delete(this.#committed);
    await this.#carrying;
  }

  /** Resolves when the changes that were committed before are in the log. */
  recorded(): Promise<void> {
    return this.#carrying;
  }

  #carry(): void {
    this.#again = true;
    if (this.#busy) return;
    this.#busy = true;
    this.#carrying = this.#run();
  }

  async #run(): Promise<void> {
    try {
      while (this.#again) {
        this.#again = false;
        while ((await this.#batch()) === BATCH);
      }
    } catch (cause) {
      this.#logger.error({ err: cause }, 'changes of configuration wait to be recorded');
    } finally {
      this.#busy = false;
    }
  }

  async #batch(): Promise<number> {
    const shard = this.#log.shard;
    // Another gateway of this database may look for the same rows: each takes its own.
    await this.#database.read((em) => em.nativeUpdate(AuditEntrySchema, { shard: '', seq: null }, { shard }));
    const rows = await this.#database.read((em) =>
      em.find(AuditEntrySchema, { shard, seq: null }, { orderBy: { id: 'asc' }, limit: BATCH }),
    );
    for (const { id, seq: _, shard: __, ...row } of rows) {
      const seq = await this.#log.append({ id, ...row }, 'disk');
      await this.#database.read((em) => em.nativeUpdate(AuditEntrySchema, { id }, { seq }));
    }
    return rows.length;
  }
}
