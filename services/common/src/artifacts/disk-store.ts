import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  dataLoss,
  invalidArgument,
  type LandfallError,
  notFound,
  resourceExhausted,
} from '../errors/errors.ts';
import { checkDigest } from './digest.ts';
import type { ArtifactStore, Blob, PutOptions } from './store.ts';

const READ_BYTES = 256 * 1024;

/**
 * Blobs as files `<folder>/sha256/ab/cdef...`. A commit is write, fsync, rename, fsync of the folder: a crash leaves
 * a whole blob or none, and leftovers under `tmp` are collected when the store is opened.
 */
export class DiskStore implements ArtifactStore {
  readonly #folder: string;
  /** Size and modification time of blobs whose digest has been seen to agree. */
  readonly #verified = new Map<string, string>();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<DiskStore> {
    await rm(join(folder, 'tmp'), { recursive: true, force: true });
    await mkdir(join(folder, 'tmp'), { recursive: true, mode: 0o700 });
    await mkdir(join(folder, 'sha256'), { recursive: true, mode: 0o700 });
    return new DiskStore(folder);
  }

  async put(content: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<Blob> {
    if (options.digest) checkDigest(options.digest);
    const temporary = join(this.#folder, 'tmp', randomUUID());
    const file = await open(temporary, 'wx', 0o600);
    try {
      const blob = await this.#write(file, content, options);
      await file.sync();
      await file.close();
      const path = this.#path(blob.digest);
      await mkdir(join(path, '..'), { recursive: true, mode: 0o700 });
      await rename(temporary, path);
      await syncFolder(join(path, '..'));
      return blob;
    } catch (error) {
      await file.close().catch(() => {});
      await rm(temporary, { force: true });
      throw asStoreError(error);
    }
  }

  async #write(file: FileHandle, content: AsyncIterable<Uint8Array>, options: PutOptions): Promise<Blob> {
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const chunk of content) {
      options.signal?.throwIfAborted();
      sizeBytes += chunk.byteLength;
      if (options.maxBytes !== undefined && sizeBytes > options.maxBytes) {
        throw invalidArgument('size_bytes', `the content is larger than ${options.maxBytes} bytes`);
      }
      hash.update(chunk);
      for (let done = 0; done < chunk.byteLength; ) {
        done += (await file.write(chunk, done, chunk.byteLength - done)).bytesWritten;
      }
    }
    const digest = `sha256:${hash.digest('hex')}`;
    if (options.sizeBytes !== undefined && options.sizeBytes !== sizeBytes) {
      throw dataLoss(
        `${sizeBytes} bytes came, ${options.sizeBytes} were announced; nothing was kept: send it again`,
      );
    }
    if (options.digest && options.digest !== digest) {
      throw dataLoss(
        `the content's digest is ${digest}, ${options.digest} was announced; nothing was kept: send it again`,
      );
    }
    return { digest, sizeBytes };
  }

  async size(digest: string): Promise<number | undefined> {
    try {
      return (await stat(this.#path(digest))).size;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async *read(digest: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    const file = await this.#open(digest);
    try {
      const hash = createHash('sha256');
      let held: Uint8Array | undefined;
      for (;;) {
        signal?.throwIfAborted();
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES);
        if (bytesRead === 0) break;
        const chunk = buffer.subarray(0, bytesRead);
        hash.update(chunk);
        if (held) yield held;
        held = chunk;
      }
      if (`sha256:${hash.digest('hex')}` !== digest) throw changed(digest);
      if (held) yield held;
    } finally {
      await file.close();
    }
  }

  async readRange(digest: string, offset: number, length: number): Promise<Uint8Array> {
    await this.#verify(digest);
    const file = await this.#open(digest);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
      return buffer.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  }

  /** Reads the whole blob, unless it was seen to agree since its file last changed. */
  async #verify(digest: string): Promise<void> {
    const path = this.#path(digest);
    const mark = await stat(path, { bigint: true }).then(
      (s) => `${s.size} ${s.mtimeNs} ${s.ino}`,
      () => undefined,
    );
    if (mark !== undefined && this.#verified.get(digest) === mark) return;
    for await (const _ of this.read(digest));
    if (mark !== undefined) this.#verified.set(digest, mark);
  }

  async delete(digest: string): Promise<void> {
    this.#verified.delete(digest);
    await rm(this.#path(digest), { force: true });
  }

  async *list(): AsyncGenerator<string> {
    for (const start of await readdir(join(this.#folder, 'sha256'))) {
      for (const rest of await readdir(join(this.#folder, 'sha256', start))) yield `sha256:${start}${rest}`;
    }
  }

  async #open(digest: string): Promise<FileHandle> {
    try {
      return await open(this.#path(digest), 'r');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT')
        throw notFound(`no content with the digest ${digest}`);
      throw error;
    }
  }

  /** Only a checked digest becomes a path. */
  #path(digest: string): string {
    const hex = checkDigest(digest).slice('sha256:'.length);
    return join(this.#folder, 'sha256', hex.slice(0, 2), hex.slice(2));
  }
}

/** Makes a rename in a folder durable. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function changed(digest: string): LandfallError {
  return dataLoss(`the stored content of ${digest} has changed and is not given out; upload it again`);
}

function asStoreError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return resourceExhausted('the disk is full: nothing was written', { reason: 'DISK_FULL', cause: error });
  }
  return error;
}
