import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { dataLoss, LandfallError, unavailable } from '@landfall/common/errors/errors.ts';
import type { HubClient, HubFile, HubRevision } from './client.ts';

/** Tries in a row that bring not a byte. */
const MAX_TRIES = 5;
const FIRST_BACKOFF_MS = 250;
const MAX_BACKOFF_MS = 10_000;

/** What of a repository has come in so far, in a folder that outlives calls and processes. */
export class Staging {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @param root folder of all stagings */
  static async open(root: string, endpoint: string, { id, commit }: HubRevision): Promise<Staging> {
    const name = createHash('sha256')
      .update(JSON.stringify([endpoint, id, commit]))
      .digest('hex')
      .slice(0, 32);
    const folder = join(root, name);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const now = new Date();
    await utimes(folder, now, now);
    return new Staging(folder);
  }

  /** Removes stagings that nobody has gone on with for a time. Returns how many. */
  static async sweep(root: string, olderThanMs: number): Promise<number> {
    let removed = 0;
    for (const name of await readdir(root).catch(() => [])) {
      const info = await stat(join(root, name)).catch(() => undefined);
      if (!info || Date.now() - info.mtimeMs < olderThanMs) continue;
      await rm(join(root, name), { recursive: true, force: true });
      removed++;
    }
    return removed;
  }

  /**
   * Brings a file in, on from the byte where an earlier try broke off, and returns its digest. What the hub tells of
   * the file must be true of it: sha256 for LFS, git's blob id otherwise; else it is removed and DATA_LOSS.
   * @param received called with the number of bytes that came, negative where some must come again
   */
  async fetch(
    hub: HubClient,
    revision: HubRevision,
    file: HubFile,
    received: (bytes: number) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const path = this.path(file);
    const handle = await open(path, 'a+', 0o600);
    let linked = file.digest;
    try {
      let have = (await handle.stat()).size;
      received(have);
      for (let tries = 0; ; tries++) {
        try {
          if (have >= file.sizeBytes && have > 0) break;
          const before = have;
          const part = await hub.open(revision, file, have, signal);
          linked ||= part.digest;
          if (part.offset === 0 && have > 0) {
            await handle.truncate(0);
            received(-have);
            have = 0;
          }
          try {
            have += await append(handle, part.content, file, have, received);
          } catch (error) {
            // What came is kept; the size on disk tells how much that is.
            have = (await handle.stat()).size;
            if (have > before) tries = 0;
            throw error;
          }
          if (have >= file.sizeBytes) break;
          if (have > before) tries = 0;
          throw new Error(`the connection ended at byte ${have} of ${file.sizeBytes}`);
        } catch (error) {
          signal.throwIfAborted();
          if (error instanceof RangeError) {
            await handle.truncate(0);
            received(-have);
            have = 0;
          } else if (!passes(error)) throw error;
          else if (tries >= MAX_TRIES - 1) throw brokenOff(file, have, error);
          await delay(backoffMs(error, tries), undefined, { signal });
        }
      }
    } finally {
      await handle.close();
    }
    return this.#verify(file, linked);
  }

  /** Where a file lies; its name is no path of the hub's. */
  path({ path }: HubFile): string {
    return join(this.#folder, createHash('sha256').update(path).digest('hex'));
  }

  read(file: HubFile): AsyncIterable<Uint8Array> {
    return createReadStream(this.path(file), { highWaterMark: 256 * 1024 });
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #verify(file: HubFile, linked: string): Promise<string> {
    const { size } = await stat(this.path(file));
    const sha256 = createHash('sha256');
    const blob = createHash('sha1').update(`blob ${size}\0`);
    for await (const chunk of this.read(file)) {
      sha256.update(chunk);
      if (linked === '' && file.blobId !== '') blob.update(chunk);
    }
    const digest = `sha256:${sha256.digest('hex')}`;
    const sound =
      size === file.sizeBytes &&
      (linked === '' ? file.blobId === '' || blob.digest('hex') === file.blobId : digest === linked);
    if (sound) return digest;
    await rm(this.path(file), { force: true });
    throw dataLoss(`'${file.path}' did not come as the hub describes it, and was not kept; try again`);
  }
}

async function append(
  handle: FileHandle,
  content: AsyncIterable<Uint8Array>,
  file: HubFile,
  have: number,
  received: (bytes: number) => void,
): Promise<number> {
  let came = 0;
  for await (const chunk of content) {
    came += chunk.length;
    if (have + came > file.sizeBytes) {
      throw dataLoss(`the hub sends more of '${file.path}' than the ${file.sizeBytes} bytes that it has`);
    }
    for (let done = 0; done < chunk.length; ) {
      done += (await handle.write(chunk, done, chunk.length - done)).bytesWritten;
    }
    received(chunk.length);
  }
  return came;
}

function brokenOff({ path, sizeBytes }: HubFile, have: number, cause: unknown): LandfallError {
  if (cause instanceof LandfallError) return cause;
  return unavailable(
    `the hub broke off '${path}' at byte ${have} of ${sizeBytes}, ${MAX_TRIES} times in a row; what came is kept: ` +
      'import again to go on',
    { cause },
  );
}

/** Whether what went wrong may be right the next time. */
function passes(error: unknown): boolean {
  if (!(error instanceof LandfallError)) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    return !/^(ENOSPC|EDQUOT|EACCES|EROFS)$/.test(code);
  }
  return error.code === status.UNAVAILABLE || error.code === status.RESOURCE_EXHAUSTED;
}

function backoffMs(error: unknown, tries: number): number {
  const asked = error instanceof LandfallError ? (error.retryAfterMs ?? 0) : 0;
  const grown = Math.min(FIRST_BACKOFF_MS * 2 ** tries, MAX_BACKOFF_MS);
  // Many importers of one hub must not come again all at once.
  return Math.max(asked, grown * (0.5 + Math.random() / 2));
}
