import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  write,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { LandfallError, unavailable } from '@landfall/common/errors/errors.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { type AuditRecord, type Head, nextLine, recordId } from './chain.ts';
import type { CheckpointSigner } from './checkpoint.ts';
import { CheckpointWriter } from './checkpoint-writer.ts';
import { recover } from './recovery.ts';
import { segmentName } from './segments.ts';

const writeAt = promisify(write);
const dataSync = promisify(fdatasync);
const APPEND = constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND;
/** Lines that nobody waits for are on the disk after so long: what a loss of power may take of them. */
const SYNC_MS = 100;

/**
 * What a line must have outlived before its call is answered: the end of this process (the system has it), or the loss
 * of power too (the disk has it).
 */
export type Durability = (typeof DURABILITIES)[number];
export const DURABILITIES = ['system', 'disk'] as const;

export interface AuditLogOptions {
  /** The shard's own folder; one process at a time writes it. */
  folder: string;
  shard: string;
  signer: CheckpointSigner;
  logger: Logger;
  /** A file beside the shard's own that gets the checkpoints too; empty for none. */
  checkpointFile: string;
  /** Bytes after which a segment is followed by the next. */
  segmentBytes: number;
  /** Of a line that asks for no more. */
  durability: Durability;
  /** Brings a file's bytes to the disk; fdatasync(2) where nothing else is given. */
  sync?: (file: number) => Promise<void>;
}

interface Waiting {
  record: AuditRecord;
  durability: Durability;
  resolve: (seq: number) => void;
  reject: (cause: unknown) => void;
}

/** A line that the system has, and whoever waits until the disk has it too. */
interface Written {
  record: AuditRecord;
  seq: number;
  waiting: Waiting | undefined;
}

/**
 * An append-only log of chained lines. What comes while a batch is being written or synced goes into the next (group
 * commit), and each caller waits until its own line is as safe as it asked for. Lines are numbered and chained as they
 * are written, so one that could not be written leaves no gap. No checkpoint vouches for a line that the disk has not.
 */
export class AuditLog {
  readonly shard: string;
  readonly folder: string;
  /** Told of each line that is on the disk, in order. */
  onWritten: (record: AuditRecord, seq: number) => void = () => {};
  readonly #options: AuditLogOptions;
  readonly #checkpoints: CheckpointWriter;
  #head: Head;
  #file: number;
  #bytes: number;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** Lines since the last sync began, in order. */
  #unsynced: Written[] = [];
  #syncing: Promise<void> | undefined;
  #syncTimer: NodeJS.Timeout | undefined;
  /** Why the disk did not take lines that the system had taken; what it has of them is known at the next start. */
  #lost: LandfallError | undefined;
  #torn = false;

  private constructor(options: AuditLogOptions, head: Head, file: number) {
    this.shard = options.shard;
    this.folder = options.folder;
    this.#options = options;
    this.#head = head;
    this.#file = file;
    this.#bytes = fstatSync(file).size;
    this.#checkpoints = new CheckpointWriter(
      options,
      () => this.#head,
      () => this.synced(),
    );
  }

  /** Goes on where the chain ends; a line that was never acknowledged for want of its end is cut off. */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(options.folder, '..', 'public.pem'), options.signer.publicPem);
    const { head, path, cutBytes } = await recover(options.folder, options.shard);
    const log = new AuditLog(options, head, openSegment(options.folder, path ?? segmentName(head.seq + 1)));
    await log.append(mark('log/opened', cutBytes > 0 ? `bytes/${cutBytes}` : ''), 'disk');
    await log.#checkpoints.write('open');
    return log;
  }

  get head(): Head {
    return this.#head;
  }

  /**
   * Resolves with the line's number when it is as safe as asked for, and as the log's own durability says at least.
   * @throws LandfallError RESOURCE_EXHAUSTED where the disk is full, UNAVAILABLE where it cannot be written
   */
  append(record: AuditRecord, durability: Durability = this.#options.durability): Promise<number> {
    if (this.#lost) return Promise.reject(this.#lost);
    const least = this.#options.durability === 'disk' ? 'disk' : durability;
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, durability: least, resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  /** Resolves when every line that is written by now is on the disk. @throws LandfallError as `append` */
  async synced(): Promise<void> {
    while (!this.#lost && (this.#unsynced.length > 0 || this.#syncing)) await (this.#syncing ?? this.#sync());
    if (this.#lost) throw this.#lost;
  }

  /** Vouches that lines up to `last` were dropped on purpose. Resolves before a byte of them may be removed. */
  async vouchDropped(dropped: { first: number; last: number; hash: string }): Promise<void> {
    await this.append(mark('log/dropped', `lines/${dropped.first}-${dropped.last}`), 'disk');
    await this.#checkpoints.write('open', dropped);
  }

  /** What was handed in is written, and the end of the chain is vouched for. */
  async close(): Promise<void> {
    await this.append(mark('log/closed', ''), 'disk');
    await this.#writing;
    await this.#checkpoints.close();
    await this.synced();
    clearTimeout(this.#syncTimer);
    closeSync(this.#file);
  }

  async #drain(): Promise<void> {
    // Calls of the same turn share the first batch too.
    await undefined;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      await this.#write(batch);
    }
    this.#writing = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    try {
      if (this.#lost) throw this.#lost;
      this.#mend();
      if (this.#bytes >= this.#options.segmentBytes) await this.#rotate();
      const heads: Head[] = [];
      let text = '';
      let head = this.#head;
      for (const { record } of batch) {
        const next = nextLine(record, head);
        head = next.head;
        heads.push(head);
        text += next.line;
      }
      const bytes = Buffer.from(text);
      this.#torn = true;
      for (let at = 0; at < bytes.length; ) {
        at += (await writeAt(this.#file, bytes, at, bytes.length - at)).bytesWritten;
      }
      this.#torn = false;
      this.#bytes += bytes.length;
      this.#head = head;
      let isAwaited = false;
      for (const [i, waiting] of batch.entries()) {
        const { record, durability } = waiting;
        const { seq } = heads[i]!;
        const waits = durability === 'disk';
        if (!waits) waiting.resolve(seq);
        isAwaited ||= waits;
        this.#unsynced.push({ record, seq, waiting: waits ? waiting : undefined });
      }
      if (isAwaited) void this.#sync();
      else this.#syncTimer ??= setTimeout(() => void this.#sync(), SYNC_MS).unref();
      this.#checkpoints.noted();
    } catch (cause) {
      this.#options.logger.error({ err: cause }, 'the audit log could not be written');
      const failure = cause instanceof LandfallError ? cause : failed(cause);
      for (const { reject } of batch) reject(failure);
    }
  }

  /** Lines that come while others are on their way to the disk go together behind them. */
  #sync(): Promise<void> {
    this.#syncing ??= this.#syncAll().finally(() => {
      this.#syncing = undefined;
    });
    return this.#syncing;
  }

  async #syncAll(): Promise<void> {
    clearTimeout(this.#syncTimer);
    this.#syncTimer = undefined;
    do {
      const lines = this.#unsynced;
      this.#unsynced = [];
      try {
        await (this.#options.sync ?? dataSync)(this.#file);
      } catch (cause) {
        // A second try may claim to have written what the first one has dropped.
        this.#options.logger.error({ err: cause }, 'the audit log is not on the disk: nothing more is taken');
        this.#lost = failed(cause);
        for (const { waiting } of [...lines, ...this.#unsynced.splice(0)]) waiting?.reject(this.#lost);
        return;
      }
      for (const { record, seq, waiting } of lines) {
        waiting?.resolve(seq);
        this.onWritten(record, seq);
      }
    } while (this.#unsynced.some(({ waiting }) => waiting !== undefined));
    if (this.#unsynced.length > 0) this.#syncTimer ??= setTimeout(() => void this.#sync(), SYNC_MS).unref();
  }

  /** Cuts off what a write that failed has left. */
  #mend(): void {
    if (!this.#torn) return;
    ftruncateSync(this.#file, this.#bytes);
    fsyncSync(this.#file);
    this.#torn = false;
  }

  async #rotate(): Promise<void> {
    await this.synced();
    const next = openSegment(this.#options.folder, segmentName(this.#head.seq + 1));
    closeSync(this.#file);
    this.#file = next;
    this.#bytes = 0;
  }
}

function mark(route: string, resource: string): AuditRecord {
  const timeMs = Date.now();
  return {
    ...{ id: recordId(timeMs), timeMs, kind: 'mark', tenant: '', subject: 'service:gateway', route },
    ...{ method: '', resource, outcome: 'OK', policy: '', request: '', response: '' },
  };
}

/** A new file is there after a crash only once its folder is on the disk. */
function openSegment(folder: string, name: string): number {
  const file = openSync(join(folder, name), APPEND, 0o600);
  const directory = openSync(folder, constants.O_RDONLY);
  fsyncSync(directory);
  closeSync(directory);
  return file;
}

function failed(cause: unknown): LandfallError {
  if ((cause as NodeJS.ErrnoException).code === 'ENOSPC') {
    return new LandfallError(8, 'the disk is full: the call could not be recorded', {
      reason: 'DISK_FULL',
      cause,
    });
  }
  return unavailable('the call could not be recorded; try again', { cause });
}
