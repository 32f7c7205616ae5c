import { randomUUID } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { LandfallError, permissionDenied, unavailable } from '../errors/errors.ts';
import { IncomingContent, outgoingContent } from './checked-content.ts';
import { SUM_CHUNK_BYTES } from './chunk-sums.ts';
import { checkDigest, contentMissing, isDigest } from './digest.ts';
import type { S3Location } from './location.ts';
import type { ArtifactStore, Blob, PutOptions } from './store.ts';
import { type RangeSource, VerifiedRanges } from './verified-ranges.ts';

/** S3 takes 10,000 parts of 5 MiB at least; these leave room. */
const MAX_PARTS = 9000;
const SMALLEST_PART_BYTES = 8 * 1024 * 1024;
const PARTS_AT_ONCE = 3;
/** How often a broken read goes on behind the last byte. */
const MAX_READ_TRIES = 4;

/**
 * Blobs as objects `<prefix>sha256/ab/cdef...` of a bucket, and the sums of their pieces as `<prefix>sums/...`.
 * Objects appear whole or not at all: large content goes up in parts that are put together when its digest agrees.
 * Credentials come from where the AWS SDK looks for them (environment, profile, web identity, instance).
 */
export class S3Store implements ArtifactStore, RangeSource, Disposable {
  readonly #client: S3Client;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #spool: string;
  readonly #ranges = new VerifiedRanges(this);

  private constructor({ bucket, prefix, endpoint, region, pathStyle }: S3Location, spool: string) {
    this.#client = new S3Client({
      region,
      ...(endpoint !== '' && { endpoint }),
      forcePathStyle: pathStyle,
      // Not every S3-compatible server knows the newer checksums; content is checked by its digest anyway.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
    this.#bucket = bucket;
    this.#prefix = prefix;
    this.#spool = spool;
  }

  /** @param spool folder for content whose digest is not known before it has come; leftovers in it are removed */
  static async open(location: S3Location, spool: string): Promise<S3Store> {
    await rm(spool, { recursive: true, force: true });
    await mkdir(spool, { recursive: true, mode: 0o700 });
    return new S3Store(location, spool);
  }

  [Symbol.dispose](): void {
    this.#client.destroy();
  }

  async put(content: AsyncIterable<Uint8Array>, options: PutOptions = {}): Promise<Blob> {
    const incoming = new IncomingContent(content, options);
    if (options.digest) return this.#upload(checkDigest(options.digest), incoming, options);
    const path = join(this.#spool, randomUUID());
    try {
      await pipeline(Readable.from(incoming.chunks()), createWriteStream(path, { flags: 'wx', mode: 0o600 }));
      const { signal } = options;
      const known = { ...incoming.blob, ...(signal && { signal }) };
      return await this.#upload(known.digest, new IncomingContent(createReadStream(path), known), known);
    } finally {
      await rm(path, { force: true });
    }
  }

  async #upload(digest: string, incoming: IncomingContent, options: PutOptions): Promise<Blob> {
    const { signal, sizeBytes = options.maxBytes ?? 0 } = options;
    const upload = new Upload({
      client: this.#client,
      params: {
        Bucket: this.#bucket,
        Key: this.#key('sha256', digest),
        Body: Readable.from(incoming.chunks()),
      },
      partSize: Math.max(SMALLEST_PART_BYTES, Math.ceil(sizeBytes / MAX_PARTS)),
      queueSize: PARTS_AT_ONCE,
      leavePartsOnError: false,
    });
    const abort = () => void upload.abort().catch(() => {});
    signal?.addEventListener('abort', abort, { once: true });
    try {
      await told(() => upload.done());
    } catch (error) {
      signal?.throwIfAborted();
      // Parts of what failed may stay behind where the server can't remove them; the bucket's lifecycle does.
      throw incoming.failure ?? error;
    } finally {
      signal?.removeEventListener('abort', abort);
    }
    this.#ranges.forget(digest);
    if (incoming.blob.sizeBytes > SUM_CHUNK_BYTES) await this.saveSums(digest, incoming.sums());
    return incoming.blob;
  }

  async size(digest: string): Promise<number | undefined> {
    const Key = this.#key('sha256', digest);
    try {
      const head = await told(() => this.#client.send(new HeadObjectCommand({ Bucket: this.#bucket, Key })));
      return head.ContentLength ?? 0;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  read(digest: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    return outgoingContent(digest, this.#chunks(digest, signal), signal);
  }

  readRange(digest: string, offset: number, length: number): Promise<Uint8Array> {
    return this.#ranges.read(digest, offset, length);
  }

  async readRaw(digest: string, offset: number, length: number): Promise<Uint8Array> {
    const body = await this.#get(this.#key('sha256', digest), `bytes=${offset}-${offset + length - 1}`);
    if (!body) throw contentMissing(digest);
    return Buffer.concat(await Array.fromAsync(body));
  }

  async loadSums(digest: string): Promise<Uint8Array | undefined> {
    const body = await this.#get(this.#key('sums', digest));
    return body && Buffer.concat(await Array.fromAsync(body));
  }

  async saveSums(digest: string, sums: Uint8Array): Promise<void> {
    const params = { Bucket: this.#bucket, Key: this.#key('sums', digest), Body: sums };
    await told(() => this.#client.send(new PutObjectCommand(params)));
  }

  async delete(digest: string): Promise<void> {
    this.#ranges.forget(digest);
    for (const part of ['sha256', 'sums'] as const) {
      const params = { Bucket: this.#bucket, Key: this.#key(part, digest) };
      await told(() => this.#client.send(new DeleteObjectCommand(params)));
    }
  }

  async *list(): AsyncGenerator<string> {
    const Prefix = `${this.#prefix}sha256/`;
    for (let token: string | undefined, more = true; more; ) {
      const params = { Bucket: this.#bucket, Prefix, ...(token && { ContinuationToken: token }) };
      const page = await told(() => this.#client.send(new ListObjectsV2Command(params)));
      for (const { Key = '' } of page.Contents ?? []) {
        const digest = `sha256:${Key.slice(Prefix.length).replace('/', '')}`;
        if (isDigest(digest)) yield digest;
      }
      token = page.NextContinuationToken;
      more = token !== undefined;
    }
  }

  /** The whole object; what breaks off goes on behind the last byte. */
  async *#chunks(digest: string, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
    let received = 0;
    for (let tries = 0; ; ) {
      const range = received > 0 ? `bytes=${received}-` : undefined;
      const body = await this.#get(this.#key('sha256', digest), range, signal);
      if (!body) throw contentMissing(digest);
      try {
        for await (const chunk of body) {
          received += chunk.length;
          tries = 0;
          yield chunk;
        }
        return;
      } catch (error) {
        signal?.throwIfAborted();
        if (++tries >= MAX_READ_TRIES) throw away(error);
      }
    }
  }

  /** Undefined for an object that is not there. */
  async #get(
    Key: string,
    range?: string,
    signal?: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array> | undefined> {
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key, ...(range && { Range: range }) });
    try {
      const { Body } = await told(() =>
        this.#client.send(command, signal ? { abortSignal: signal } : undefined),
      );
      return Body as Readable;
    } catch (error) {
      signal?.throwIfAborted();
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  /** Only a checked digest becomes a key. */
  #key(part: 'sha256' | 'sums', digest: string): string {
    const hex = checkDigest(digest).slice('sha256:'.length);
    return `${this.#prefix}${part}/${hex.slice(0, 2)}/${hex.slice(2)}`;
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404 && !isNoBucket(error);
}

function isNoBucket({ name }: S3ServiceException): boolean {
  return name === 'NoSuchBucket';
}

/** Runs a call of the SDK and tells its failures as the mesh does; without addresses or keys. */
async function told<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof LandfallError || isMissing(error)) throw error;
    if (error instanceof S3ServiceException) {
      const statusCode = error.$metadata.httpStatusCode ?? 0;
      if (statusCode === 403 || statusCode === 401) {
        throw permissionDenied('the object store refuses the registry; check its credentials and rights', {
          reason: 'STORE_REFUSED',
          cause: error,
        });
      }
      if (isNoBucket(error))
        throw unavailable('the bucket of the object store does not exist', { cause: error });
      if (statusCode >= 400 && statusCode < 500 && statusCode !== 408 && statusCode !== 429) throw error;
    }
    throw away(error);
  }
}

function away(cause: unknown): LandfallError {
  return unavailable('the object store does not answer; try again', { cause });
}
