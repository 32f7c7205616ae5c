import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { status } from '@grpc/grpc-js';
import { dataLoss, LandfallError } from '../errors/errors.ts';

/** A content that is to be fetched. */
export interface RemoteFile {
  /** `sha256:...` of the content. */
  digest: string;
  sizeBytes: number;
}

/** Streams bytes of a content: all of it for length 0, which only comes with offset 0. */
export type ReadRange<F extends RemoteFile = RemoteFile> = (
  file: F,
  offset: number,
  length: number,
  signal: AbortSignal,
) => AsyncIterable<Uint8Array>;

/** A content of this size at most is fetched in one piece. */
const RANGE_BYTES = 16 * 1024 * 1024;
const RANGES_AT_ONCE = 4;
/** Tries in a row of one range that bring not a byte. */
const MAX_TRIES = 4;
const FIRST_BACKOFF_MS = 100;

/**
 * Writes a content to a new file: large ones in several ranges at once, each of which goes on behind its last byte
 * when the source breaks off. The file is synced and is what its digest says when this resolves.
 * @throws LandfallError DATA_LOSS for other content; what the source throws
 */
export async function fetchToFile<F extends RemoteFile>(
  path: string,
  file: F,
  read: ReadRange<F>,
  signal: AbortSignal,
): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    if (file.sizeBytes <= RANGE_BYTES) await fetchRange(handle, file, 0, file.sizeBytes, read, signal);
    else await fetchRanges(handle, file, read, signal);
    await handle.sync();
  } finally {
    await handle.close();
  }
  if (!(await hasDigest(path, file.digest))) {
    throw dataLoss(`the content that came for ${file.digest} is not what its digest says`);
  }
}

/** Whether a file holds the content of a digest; false where there is none. */
export async function hasDigest(path: string, digest: string): Promise<boolean> {
  const hash = createHash('sha256');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }))
      hash.update(chunk as Buffer);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
  return `sha256:${hash.digest('hex')}` === digest;
}

async function fetchRanges<F extends RemoteFile>(
  handle: FileHandle,
  file: F,
  read: ReadRange<F>,
  signal: AbortSignal,
): Promise<void> {
  await handle.truncate(file.sizeBytes);
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  let next = 0;
  const worker = async () => {
    while (next < file.sizeBytes && !either.aborted) {
      const offset = next;
      next += RANGE_BYTES;
      await fetchRange(handle, file, offset, Math.min(RANGE_BYTES, file.sizeBytes - offset), read, either);
    }
  };
  // All end before the file is closed under them; the first failure stops the others.
  const failed = (error: unknown) => stop.abort(error);
  await Promise.all(Array.from({ length: RANGES_AT_ONCE }, () => worker().catch(failed)));
  either.throwIfAborted();
}

async function fetchRange<F extends RemoteFile>(
  handle: FileHandle,
  file: F,
  offset: number,
  length: number,
  read: ReadRange<F>,
  signal: AbortSignal,
): Promise<void> {
  const end = offset + length;
  let at = offset;
  for (let tries = 0; at < end || length === 0; ) {
    const before = at;
    try {
      const whole = at === 0 && end === file.sizeBytes;
      for await (const chunk of read(file, at, whole ? 0 : end - at, signal)) {
        if (at + chunk.length > end) {
          throw dataLoss(`more came for ${file.digest} than its ${file.sizeBytes} bytes`);
        }
        await writeAt(handle, chunk, at);
        at += chunk.length;
      }
      if (at === end) return;
      throw dataLoss(`less came for ${file.digest} than its ${file.sizeBytes} bytes`);
    } catch (error) {
      signal.throwIfAborted();
      tries = at > before ? 1 : tries + 1;
      if (!isPassing(error) || tries >= MAX_TRIES) throw error;
      await delay(FIRST_BACKOFF_MS * 2 ** tries, undefined, { signal });
    }
  }
}

async function writeAt(handle: FileHandle, chunk: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < chunk.length; ) {
    done += (await handle.write(chunk, done, chunk.length - done, position + done)).bytesWritten;
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof LandfallError && error.code === status.UNAVAILABLE;
}
