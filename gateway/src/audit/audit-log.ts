import {
  closeSync,
  constants,
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
/** A write returns when its bytes are on the disk: one call in the place of a write and a sync. */
const APPEND = constants.O_CREAT | constants.O_WRONLY | constants.O_APPEND | constants.O_DSYNC;

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
}

interface Waiting {
  record: AuditRecord;
  resolve: (seq: number) => void;
  reject: (cause: unknown) => void;
}

/**
 * An append-only log of chained lines. What comes while a batch is being written goes into the next (group commit),
 * and each caller waits until its own line is on the disk. Lines are numbered and chained as they are written, so one
 * that could not be written leaves no gap.
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
  #torn = false;

  private constructor(options: AuditLogOptions, head: Head, file: number) {
    this.shard = options.shard;
    this.folder = options.folder;
    this.#options = options;
    this.#head = head;
    this.#file = file;
    this.#bytes = fstatSync(file).size;
    this.#checkpoints = new CheckpointWriter(options, () => this.#head);
  }

  /** Goes on where the chain ends; a line that was never acknowledged for want of its end is cut off. */
  static async open(options: AuditLogOptions): Promise<AuditLog> {
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(options.folder, '..', 'public.pem'), options.signer.publicPem);
    const { head, path, cutBytes } = await recover(options.folder, options.shard);
    const log = new AuditLog(options, head, openSegment(options.folder, path ?? segmentName(head.seq + 1)));
    await log.append(mark('log/opened', cutBytes > 0 ? `bytes/${cutBytes}` : ''));
    await log.#checkpoints.write('open');
    return log;
  }

  get head(): Head {
    return this.#head;
  }

  /**
   * Resolves with the line's number when it is on the disk.
   * @throws LandfallError RESOURCE_EXHAUSTED where the disk is full, UNAVAILABLE where it cannot be written
   */
  append(record: AuditRecord): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ record, resolve, reject });
      this.#writing ??= this.#drain();
    });
  }

  /** Vouches that lines up to `last` were dropped on purpose. Resolves before a byte of them may be removed. */
  async vouchDropped(dropped: { first: number; last: number; hash: string }): Promise<void> {
    await this.append(mark('log/dropped', `lines/${dropped.first}-${dropped.last}`));
    await this.#checkpoints.write('open', dropped);
  }

  /** What was handed in is written, and the end of the chain is vouched for. */
  async close(): Promise<void> {
    await this.append(mark('log/closed', ''));
    await this.#writing;
    await this.#checkpoints.close();
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
      this.#mend();
      if (this.#bytes >= this.#options.segmentBytes) this.#rotate();
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
      batch.forEach(({ record, resolve }, i) => {
        resolve(heads[i]!.seq);
        this.onWritten(record, heads[i]!.seq);
      });
      this.#checkpoints.noted();
    } catch (cause) {
      this.#options.logger.error({ err: cause }, 'the audit log could not be written');
      const failure = failed(cause);
      for (const { reject } of batch) reject(failure);
    }
  }

  /** Cuts off what a write that failed has left. */
  #mend(): void {
    if (!this.#torn) return;
    ftruncateSync(this.#file, this.#bytes);
    fsyncSync(this.#file);
    this.#torn = false;
  }

  #rotate(): void {
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
