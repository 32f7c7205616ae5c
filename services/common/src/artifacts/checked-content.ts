import { createHash } from 'node:crypto';
import { dataLoss, invalidArgument } from '../errors/errors.ts';
import { ChunkSums } from './chunk-sums.ts';
import { contentChanged } from './digest.ts';
import type { Blob, PutOptions } from './store.ts';

/** Content on its way into a store: measured, and held against what was announced when it has ended. */
export class IncomingContent {
  readonly #content: AsyncIterable<Uint8Array>;
  readonly #options: PutOptions;
  readonly #sums = new ChunkSums();
  #blob: Blob | undefined;
  /** What ended the content too early: the cause of whatever the store then says. */
  failure: unknown;

  constructor(content: AsyncIterable<Uint8Array>, options: PutOptions) {
    this.#content = content;
    this.#options = options;
  }

  /**
   * Passes the content on. The end comes only when it is what was announced.
   * @throws LandfallError DATA_LOSS, INVALID_ARGUMENT above the limit
   */
  async *chunks(): AsyncGenerator<Uint8Array> {
    try {
      yield* this.#checked();
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }

  async *#checked(): AsyncGenerator<Uint8Array> {
    const { maxBytes, signal } = this.#options;
    const hash = createHash('sha256');
    let sizeBytes = 0;
    for await (const chunk of this.#content) {
      signal?.throwIfAborted();
      sizeBytes += chunk.byteLength;
      if (maxBytes !== undefined && sizeBytes > maxBytes) {
        throw invalidArgument('size_bytes', `the content is larger than ${maxBytes} bytes`);
      }
      hash.update(chunk);
      this.#sums.update(chunk);
      yield chunk;
    }
    const digest = `sha256:${hash.digest('hex')}`;
    if (this.#options.sizeBytes !== undefined && this.#options.sizeBytes !== sizeBytes) {
      throw dataLoss(
        `${sizeBytes} bytes came, ${this.#options.sizeBytes} were announced; nothing was kept: send it again`,
      );
    }
    if (this.#options.digest && this.#options.digest !== digest) {
      throw dataLoss(
        `the content's digest is ${digest}, ${this.#options.digest} was announced; nothing was kept: send it again`,
      );
    }
    this.#blob = { digest, sizeBytes };
  }

  /** What came; only behind the end of `chunks`. */
  get blob(): Blob {
    if (!this.#blob) throw new Error('the content has not ended yet');
    return this.#blob;
  }

  /** Sums of its pieces; only behind the end of `chunks`, and once. */
  sums(): Buffer {
    return this.#sums.finish();
  }
}

/** Content on its way out, whose last chunk is given out only when the digest agrees. Throws DATA_LOSS. */
export async function* outgoingContent(
  digest: string,
  content: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const hash = createHash('sha256');
  let held: Uint8Array | undefined;
  for await (const chunk of content) {
    signal?.throwIfAborted();
    hash.update(chunk);
    if (held) yield held;
    held = chunk;
  }
  if (`sha256:${hash.digest('hex')}` !== digest) throw contentChanged(digest);
  if (held) yield held;
}
