import { appendFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AuditLogOptions } from './audit-log.ts';
import type { Head } from './chain.ts';
import type { Dropped } from './checkpoint.ts';
import { CHECKPOINTS } from './segments.ts';

/** At most so many lines, and so long, stand behind the last checkpoint of a running log. */
export const MOST_LINES = 1000;
export const MOST_MS = 1000;

/** Signs where a chain stands, and leaves that in the shard's folder and wherever else it is kept. */
export class CheckpointWriter {
  readonly #options: AuditLogOptions;
  readonly #head: () => Head;
  readonly #synced: () => Promise<void>;
  readonly #files: string[];
  #last = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  /** @param synced resolves when every line up to the head is on the disk */
  constructor(options: AuditLogOptions, head: () => Head, synced: () => Promise<void>) {
    this.#options = options;
    this.#head = head;
    this.#synced = synced;
    this.#files = [join(options.folder, CHECKPOINTS), options.checkpointFile].filter((file) => file !== '');
  }

  /** Lines were written. */
  noted(): void {
    if (this.#head().seq - this.#last >= MOST_LINES) void this.write('open');
    else this.#timer ??= setTimeout(() => void this.write('open'), MOST_MS).unref();
  }

  write(state: 'open' | 'closed', dropped?: Dropped): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { seq, hash } = this.#head();
    this.#last = seq;
    const { shard, signer } = this.#options;
    const line = signer.line({ shard, seq, hash, time: new Date().toISOString(), state, dropped });
    this.#writing = this.#writing.then(() => this.#append(line));
    return this.#writing;
  }

  async close(): Promise<void> {
    await this.write('closed');
  }

  async #append(line: string): Promise<void> {
    for (const file of this.#files) {
      try {
        // A line that was vouched for and is then lost with the power would look as if it had been taken out.
        await this.#synced();
        await appendFile(file, line, { mode: 0o600, flush: true });
      } catch (cause) {
        // Lines are chained without it; the next checkpoint vouches for these too.
        this.#options.logger.error(
          { err: cause, file },
          'a checkpoint of the audit log could not be written',
        );
      }
    }
  }
}
