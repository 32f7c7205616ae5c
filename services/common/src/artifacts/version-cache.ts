import { createHash, randomUUID } from 'node:crypto';
import { copyFile, link, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { dataLoss, LandfallError } from '../errors/errors.ts';
import { SharedWork } from '../lifecycle/shared-work.ts';
import { isDigest } from './digest.ts';
import { fetchToFile, hasDigest, type ReadRange, type RemoteFile } from './parallel-fetch.ts';

/** A file of a version. */
export interface VersionFile extends RemoteFile {
  /** Relative, with `/` between parts. */
  path: string;
}

export interface VersionCacheOptions {
  /** Above this, what was not asked for the longest goes. */
  limitBytes: number;
  /** A version that was asked for within this time stays whatever the limit is, in milliseconds. */
  keepMs: number;
}

const FOLDER = /^[0-9a-f]{64}$/;
/** Partial downloads older than this belong to nobody any more. */
const ABANDONED_MS = 24 * 3_600_000;
/** A download may take so long, and what its bytes take at the slowest rate that is still of use. */
const LEAST_FETCH_MS = 10 * 60_000;
const SLOWEST_BYTES_PER_MS = 256;
/** What the registry refuses one caller for reasons of theirs, who reads the version in their own name. */
const OF_CALLER: ReadonlySet<unknown> = new Set([
  ...[status.PERMISSION_DENIED, status.NOT_FOUND, status.UNAUTHENTICATED],
]);

/** Identifies a set of files: sha256 over their sorted paths and digests. */
export function contentDigest(files: readonly VersionFile[]): string {
  const hash = createHash('sha256');
  for (const file of [...files].sort((a, b) => (a.path < b.path ? -1 : 1)))
    hash.update(`${file.digest} ${file.path}\n`);
  return hash.digest('hex');
}

/**
 * Files of versions on the local disk: a content once under `blobs`, by its digest, and a folder a version with
 * links to its contents, so that versions which share weights share their place. A folder is complete or absent. The
 * place is bounded: what was asked for the longest ago goes first. Several processes may share one cache.
 */
export class VersionCache implements Disposable {
  readonly #root: string;
  readonly #options: VersionCacheOptions;
  readonly #fetches = new SharedWork<string>({
    name: 'the download of a version',
    isOfCaller: (error) => error instanceof LandfallError && OF_CALLER.has(error.code),
  });
  readonly #pinned = new Set<string>();
  #heartbeat: NodeJS.Timeout | undefined;

  constructor(root: string, options: VersionCacheOptions) {
    this.#root = root;
    this.#options = options;
  }

  /** Pins end; nothing is removed. */
  [Symbol.dispose](): void {
    clearInterval(this.#heartbeat);
    this.#pinned.clear();
  }

  /**
   * The local folder with these files, fetched where it is not there yet, every file held against its digest. Several
   * callers share one download, which goes on as long as one of them waits.
   * @param read is given the download's own signal and must know no deadline of the caller's
   * @param signal of the caller; they leave alone when it fires
   * @param pin keeps the folder as long as this process lives: for files that are opened again and again
   * @throws LandfallError DATA_LOSS for content or a manifest that can't be used; DEADLINE_EXCEEDED for a download that
   * takes far too long; what `read` throws; the signal's reason
   */
  async folder<F extends VersionFile>(
    files: readonly F[],
    read: ReadRange<F>,
    signal: AbortSignal,
    { pin = false } = {},
  ): Promise<string> {
    for (const file of files) checkFile(file);
    const digest = contentDigest(files);
    if (pin) this.#pin(digest);
    const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
    const timeoutMs = LEAST_FETCH_MS + sizeBytes / SLOWEST_BYTES_PER_MS;
    return this.#fetches.do(digest, signal, timeoutMs, (own) => this.#ensure(digest, files, read, own));
  }

  /** Removes what is over the limit and was not asked for lately. Returns how many versions went. */
  async trim(): Promise<number> {
    const folders = await this.#folders();
    let sizeBytes = await this.#sizeBytes(folders.map(({ name }) => name));
    let removed = 0;
    for (const { name, usedMs } of folders) {
      if (sizeBytes <= this.#options.limitBytes || this.#isYoung(usedMs)) break;
      // Another process may have asked for it since the folders were listed.
      if (this.#isYoung(await this.#usedMs(name))) continue;
      // First out of sight, then away: nobody finds half of it.
      const going = join(this.#root, `.going-${randomUUID()}`);
      await rename(join(this.#root, name), going).catch(() => {});
      await rm(going, { recursive: true, force: true });
      await rm(this.#stamp(name), { force: true });
      await this.#removeUnlinked();
      removed++;
      sizeBytes = await this.#sizeBytes((await this.#folders()).map((one) => one.name));
    }
    return removed;
  }

  async #ensure<F extends VersionFile>(
    digest: string,
    files: readonly F[],
    read: ReadRange<F>,
    signal: AbortSignal,
  ): Promise<string> {
    const target = join(this.#root, digest);
    await mkdir(join(this.#root, 'blobs'), { recursive: true, mode: 0o700 });
    await this.#touch(digest);
    if (await isIntact(target, files)) return target;
    await this.#removeAbandoned();
    const partial = join(this.#root, `.partial-${randomUUID()}`);
    try {
      for (const file of files) await this.#place(join(partial, ...file.path.split('/')), file, read, signal);
      // A folder that failed its check makes way; one that another process has just put there is as good as ours.
      if (!(await isIntact(target, files))) {
        await rm(target, { recursive: true, force: true });
        await rename(partial, target).catch(async (error) => {
          if (!(await isIntact(target, files))) throw error;
        });
      }
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
    await this.#touch(digest);
    await this.trim();
    return target;
  }

  /** Puts a content at a path of a folder: a link where the file system has them. */
  async #place<F extends VersionFile>(
    path: string,
    file: F,
    read: ReadRange<F>,
    signal: AbortSignal,
  ): Promise<void> {
    const blob = this.#blob(file.digest);
    if (!(await hasDigest(blob, file.digest))) {
      const incoming = join(this.#root, `.partial-${randomUUID()}`);
      try {
        await fetchToFile(incoming, file, read, signal);
        await mkdir(dirname(blob), { recursive: true, mode: 0o700 });
        await rename(incoming, blob);
      } finally {
        await rm(incoming, { force: true });
      }
    }
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await link(blob, path).catch(() => copyFile(blob, path));
  }

  #pin(digest: string): void {
    this.#pinned.add(digest);
    this.#heartbeat ??= setInterval(
      () => {
        for (const pinned of this.#pinned) void this.#touch(pinned).catch(() => {});
      },
      Math.max(1000, this.#options.keepMs / 3),
    ).unref();
  }

  /** Notes that a version is in use, for every process that shares the cache. */
  async #touch(digest: string): Promise<void> {
    const stamp = this.#stamp(digest);
    await mkdir(dirname(stamp), { recursive: true, mode: 0o700 });
    const now = new Date();
    await utimes(stamp, now, now).catch(async () => (await open(stamp, 'a', 0o600)).close());
  }

  /** Folders of versions, the one that was asked for the longest ago first. */
  async #folders(): Promise<{ name: string; usedMs: number }[]> {
    const folders: { name: string; usedMs: number }[] = [];
    for (const name of await readdir(this.#root)) {
      if (!FOLDER.test(name)) continue;
      folders.push({ name, usedMs: await this.#usedMs(name) });
    }
    return folders.sort((a, b) => a.usedMs - b.usedMs);
  }

  /** When a version was asked for last, in milliseconds since 1970. */
  async #usedMs(name: string): Promise<number> {
    const info =
      (await stat(this.#stamp(name)).catch(() => undefined)) ??
      (await stat(join(this.#root, name)).catch(() => undefined));
    return info?.mtimeMs ?? 0;
  }

  #isYoung(usedMs: number): boolean {
    return Date.now() - usedMs < this.#options.keepMs;
  }

  /** What folders take, links to one content counted once. */
  async #sizeBytes(names: readonly string[]): Promise<number> {
    const seen = new Map<string, number>();
    for (const name of ['blobs', ...names]) {
      const entries = await readdir(join(this.#root, name), { recursive: true, withFileTypes: true }).catch(
        () => [],
      );
      for (const entry of entries) {
        if (!entry.isFile()) continue;
        const info = await stat(join(entry.parentPath, entry.name)).catch(() => undefined);
        if (info) seen.set(`${info.dev}:${info.ino}`, info.size);
      }
    }
    return [...seen.values()].reduce((sum, size) => sum + size, 0);
  }

  /** Contents that no folder links to; young ones may be on their way into one. */
  async #removeUnlinked(): Promise<void> {
    const blobs = join(this.#root, 'blobs');
    for (const entry of await readdir(blobs, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const info = await stat(path).catch(() => undefined);
      if (info && info.nlink === 1 && Date.now() - info.mtimeMs >= this.#options.keepMs)
        await rm(path, { force: true });
    }
  }

  async #removeAbandoned(): Promise<void> {
    for (const name of await readdir(this.#root)) {
      if (!/^\.(partial|going)-/.test(name)) continue;
      const info = await stat(join(this.#root, name)).catch(() => undefined);
      if (info && Date.now() - info.mtimeMs > ABANDONED_MS)
        await rm(join(this.#root, name), { recursive: true, force: true });
    }
  }

  #blob(digest: string): string {
    const hex = digest.slice('sha256:'.length);
    return join(this.#root, 'blobs', hex.slice(0, 2), hex.slice(2));
  }

  #stamp(digest: string): string {
    return join(this.#root, 'used', digest);
  }
}

function checkFile(file: VersionFile): void {
  const parts = file.path.split('/');
  const safe = parts.every((part) => /^[^\\\p{Cc}]+$/u.test(part) && part !== '.' && part !== '..');
  if (!safe) throw dataLoss('the manifest has a file path that can not be used');
  if (!isDigest(file.digest)) throw dataLoss('the manifest has a malformed digest');
}

async function isIntact(folder: string, files: readonly VersionFile[]): Promise<boolean> {
  for (const { path, digest } of files) {
    if (!(await hasDigest(join(folder, ...path.split('/')), digest).catch(() => false))) return false;
  }
  return true;
}
