import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Database } from '@landfall/common/db/database.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { AuditConfig } from '../config.ts';
import { AuditIndex } from './audit-index.ts';
import { AuditLog } from './audit-log.ts';
import { CallLedger } from './call-ledger.ts';
import { CheckpointSigner } from './checkpoint.ts';
import { ConfigChanges } from './config-changes.ts';
import { dropSegments } from './retention.ts';
import { shardsOf } from './segments.ts';

const SEGMENT_BYTES = 64 * 1024 * 1024;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** The proof of what was decided: log, its index, and what writes to them. */
export class Audit implements AsyncDisposable {
  readonly log: AuditLog;
  readonly index: AuditIndex;
  readonly ledger: CallLedger;
  readonly #changes: ConfigChanges;
  readonly #logger: Logger;
  readonly #keepMs: number;
  #timer: NodeJS.Timeout | undefined;

  private constructor(log: AuditLog, database: Database, config: AuditConfig, logger: Logger) {
    this.log = log;
    this.index = new AuditIndex(database, log, logger);
    this.#changes = new ConfigChanges(database, log, logger);
    this.ledger = new CallLedger(log, this.#changes);
    this.#logger = logger;
    this.#keepMs = config.keepDays * DAY_MS;
  }

  /** @param folder holds one folder for the shard that this gateway writes, made at its first start */
  static async open(folder: string, database: Database, config: AuditConfig, logger: Logger): Promise<Audit> {
    const shard = shardsOf(folder)[0] ?? `g${randomBytes(6).toString('hex')}`;
    const signer = CheckpointSigner.open(config.keyFile);
    const { checkpointFile, durability } = config;
    const place = { folder: join(folder, shard), shard, checkpointFile, segmentBytes: SEGMENT_BYTES };
    const log = await AuditLog.open({ ...place, signer, logger, durability });
    const audit = new Audit(log, database, config, logger);
    await audit.index.start();
    audit.#changes.start();
    if (audit.#keepMs > 0) {
      audit.#timer = setInterval(() => void audit.#drop(), HOUR_MS).unref();
      await audit.#drop();
    }
    return audit;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#changes.stop();
    await this.index.stop();
    await this.log.close();
  }

  async #drop(): Promise<void> {
    try {
      const last = await dropSegments(this.log, Date.now() - this.#keepMs);
      if (last > 0) await this.index.forget(last);
    } catch (cause) {
      this.#logger.error({ err: cause }, 'old lines of the audit log could not be dropped');
    }
  }
}
