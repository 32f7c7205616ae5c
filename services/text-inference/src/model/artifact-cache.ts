/**
 * Files of model versions on the local disk, a folder a version, named by the digest of its content. A folder is
 * complete or absent: it is filled beside its place, every file checked against its sha256, and moved there last.
 */

import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';

export interface CachedFile {
  /** Relative, with `/` between parts. */
  path: string;
  /** `sha256:` and 64 hex digits. */
  digest: string;
  sizeBytes: number;
}

/** A file's content is not what its digest says. */
export class CorruptArtifactError extends Error {
  override name = 'CorruptArtifactError';
}

/** Streams the content of one file of the version. */
export type ReadFile = (file: CachedFile, signal: AbortSignal) => AsyncIterable<Uint8Array>;

/** Partial downloads older than this belong to nobody any more. */
const ABANDONED_MS = 24 * 3600 * 1000;

/** Identifies a set of files: sha256 over their sorted paths and digests. */
export function contentDigest(files: readonly CachedFile[]): string {
  const hash = createHash('sha256');
  for (const file of [...files].sort((a, b) => (a.path < b.path ? -1 : 1)))
    hash.update(`${file.digest} ${file.path}\n`);
  return hash.digest('hex');
}

export class ArtifactCache {
  readonly #root: string;
  readonly #running = new Map<string, Promise<string>>();

  constructor(root: string) {
    this.#root = root;
  }

  /**
   * The local folder with these files, fetched where it is not there yet. Several callers share one download.
   * @throws CorruptArtifactError when content differs from its digest.
   */
  async folder(files: readonly CachedFile[], read: ReadFile, signal: AbortSignal): Promise<string> {
    for (const file of files) checkFile(file);
    const digest = contentDigest(files);
    let running = this.#running.get(digest);
    if (!running) {
      running = this.#ensure(digest, files, read, signal).finally(() => this.#running.delete(digest));
      this.#running.set(digest, running);
    }
    return running;
  }

  async #ensure(
    digest: string,
    files: readonly CachedFile[],
    read: ReadFile,
    signal: AbortSignal,
  ): Promise<string> {
    const target = path.join(this.#root, digest);
    if (await isIntact(target, files)) return target;
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    await this.#removeAbandoned();
    const partial = path.join(this.#root, `.partial-${randomUUID()}`);
    try {
      for (const file of files)
        await download(path.join(partial, ...file.path.split('/')), file, read, signal);
      // A folder that failed its check makes way; one that another replica has just put there is as good as ours.
      if (!(await isIntact(target, files))) {
        await rm(target, { recursive: true, force: true });
        await rename(partial, target).catch(async (error) => {
          if (!(await isIntact(target, files))) throw error;
        });
      }
    } finally {
      await rm(partial, { recursive: true, force: true });
    }
    return target;
  }

  async #removeAbandoned(): Promise<void> {
    for (const name of await readdir(this.#root)) {
      if (!name.startsWith('.partial-')) continue;
      const folder = path.join(this.#root, name);
      const info = await stat(folder).catch(() => undefined);
      if (info && Date.now() - info.mtimeMs > ABANDONED_MS)
        await rm(folder, { recursive: true, force: true });
    }
  }
}

function checkFile(file: CachedFile): void {
  const parts = file.path.split('/');
  const safe = parts.every((part) => /^[^\\\p{Cc}]+$/u.test(part) && part !== '.' && part !== '..');
  if (!safe) throw new CorruptArtifactError('the manifest has a file path that can not be used');
  if (!/^sha256:[0-9a-f]{64}$/.test(file.digest))
    throw new CorruptArtifactError('the manifest has a malformed digest');
}

async function isIntact(folder: string, files: readonly CachedFile[]): Promise<boolean> {
  try {
    for (const file of files) {
      const hash = createHash('sha256');
      await pipeline(createReadStream(path.join(folder, ...file.path.split('/'))), hash);
      if (`sha256:${hash.digest('hex')}` !== file.digest) return false;
    }
    return true;
  } catch {
    return false;
  }
}

async function download(
  target: string,
  file: CachedFile,
  read: ReadFile,
  signal: AbortSignal,
): Promise<void> {
  await mkdir(path.dirname(target), { recursive: true, mode: 0o700 });
  const handle = await open(target, 'wx', 0o600);
  try {
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of read(file, signal)) {
      size += chunk.length;
      if (size > file.sizeBytes) break;
      hash.update(chunk);
      await handle.write(chunk);
    }
    if (size !== file.sizeBytes || `sha256:${hash.digest('hex')}` !== file.digest) {
      throw new CorruptArtifactError(`${file.path} is not what its digest says`);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}
