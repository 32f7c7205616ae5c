import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { resourceExhausted } from '../errors/errors.ts';
import { IncomingContent, outgoingContent } from './checked-content.ts';
import { SUM_CHUNK_BYTES } from './chunk-sums.ts';
import { checkDigest, contentMissing } from './digest.ts';
import type { ArtifactStore, Blob, PutOptions } from './store.ts';
import { type RangeSource, VerifiedRanges } from './verified-ranges.ts';

const READ_BYTES = 256 * 1024;

/**
 * Blobs as files `<folder>/sha256/ab/cdef...`, and the sums of their pieces as `<folder>/sums/ab/cdef...`. A commit
 * is write, fsync, rename, fsync of the folder: a crash leaves a whole blob or none, and leftovers under `tmp` are
 * collected when the store is opened.
 */
export class DiskStore implements ArtifactStore, RangeSource {
  readonly #folder: string;
  readonly #ranges = new VerifiedRanges(this);

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(folder: string): Promise<DiskStore> {
    await rm(join(folder, 'tmp'), { recursive: true, force: true });
    for (const part of ['tmp', 'sha256', 'sums']) {
      await mkdir(join(folder, part), { recursive: true, mode: 0o700 });
    }
    return new DiskStore(folder);
  }

  async put(content: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<Blob> {
    if (options.digest) checkDigest(options.digest);
    const incoming = new IncomingContent(content, options);
    const path = () => this.#path('sha256', incoming.blob.digest);
    return this.#commit(incoming.chunks(), path, async () => {
      const { digest, sizeBytes } = incoming.blob;
      if (sizeBytes > SUM_CHUNK_BYTES) await this.saveSums(digest, incoming.sums());
      this.#ranges.forget(digest);
      return incoming.blob;
    });
  }

  async size(digest: string): Promise<number | undefined> {
    try {
      return (await stat(this.#path('sha256', digest))).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  read(digest: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    return outgoingContent(digest, this.#chunks(digest), signal);
  }

  readRange(digest: string, offset: number, length: number): Promise<Uint8Array> {
    return this.#ranges.read(digest, offset, length);
  }

  async readRaw(digest: string, offset: number, length: number): Promise<Uint8Array> {
    const file = await this.#open(digest);
    try {
      const buffer = Buffer.allocUnsafe(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return buffer.subarray(0, done);
    } finally {
      await file.close();
    }
  }

  async loadSums(digest: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path('sums', digest));
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  async saveSums(digest: string, sums: Uint8Array): Promise<void> {
    const content = (async function* () {
      yield sums;
    })();
    await this.#commit(
      content,
      () => this.#path('sums', digest),
      async () => {},
    );
  }

  async delete(digest: string): Promise<void> {
    this.#ranges.forget(digest);
    await rm(this.#path('sha256', digest), { force: true });
    await rm(this.#path('sums', digest), { force: true });
  }

  async *list(): AsyncGenerator<string> {
    for (const start of await readdir(join(this.#folder, 'sha256'))) {
      for (const rest of await readdir(join(this.#folder, 'sha256', start))) yield `sha256:${start}${rest}`;
    }
  }

  /**
   * Writes content to the place that is known when it has ended.
   * @param before what must be done before it is there
   */
  async #commit<T>(
    content: AsyncIterable<Uint8Array>,
    place: () => string,
    before: () => Promise<T>,
  ): Promise<T> {
    const temporary = join(this.#folder, 'tmp', randomUUID());
    const file = await open(temporary, 'wx', 0o600);
    try {
      for await (const chunk of content) await writeAll(file, chunk);
      await file.sync();
      await file.close();
      const result = await before();
      const folder = join(place(), '..');
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await rename(temporary, place());
      await syncFolder(folder);
      return result;
    } catch (error) {
      await file.close().catch(() => {});
      await rm(temporary, { force: true });
      throw asStoreError(error);
    }
  }

  async *#chunks(digest: string): AsyncGenerator<Uint8Array> {
    const file = await this.#open(digest);
    try {
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES);
        if (bytesRead === 0) break;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  }

  async #open(digest: string): Promise<FileHandle> {
    try {
      return await open(this.#path('sha256', digest), 'r');
    } catch (error) {
      if (isMissing(error)) throw contentMissing(digest);
      throw error;
    }
  }

  /** Only a checked digest becomes a path. */
  #path(part: 'sha256' | 'sums', digest: string): string {
    const hex = checkDigest(digest).slice('sha256:'.length);
    return join(this.#folder, part, hex.slice(0, 2), hex.slice(2));
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

async function writeAll(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.byteLength; ) {
    done += (await file.write(chunk, done, chunk.byteLength - done)).bytesWritten;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}

function asStoreError(error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return resourceExhausted('the disk is full: nothing was written', { reason: 'DISK_FULL', cause: error });
  }
  return error;
}
