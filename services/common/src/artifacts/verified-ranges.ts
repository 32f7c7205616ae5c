import { LRUCache } from 'lru-cache';
import { ChunkSums, SUM_CHUNK_BYTES, sumsAgree, sumsFit } from './chunk-sums.ts';
import { contentChanged, contentMissing } from './digest.ts';

/** What a store must do so that parts of its content can be checked. */
export interface RangeSource {
  size(digest: string): Promise<number | undefined>;
  /** Bytes as they lie there. */
  readRaw(digest: string, offset: number, length: number): Promise<Uint8Array>;
  /** The whole content, checked; throws DATA_LOSS. */
  read(digest: string): AsyncIterable<Uint8Array>;
  /** Undefined where there are none. */
  loadSums(digest: string): Promise<Uint8Array | undefined>;
  saveSums(digest: string, sums: Uint8Array): Promise<void>;
}

const CACHED_SUMS_BYTES = 64 * 1024 * 1024;

/**
 * Parts of contents, each checked on every read: by the sums of its pieces, and where those are missing or disagree,
 * by reading the whole once and writing them anew. So a changed bit is found wherever it is, and what is sound is
 * served though its sums were damaged.
 */
export class VerifiedRanges {
  readonly #source: RangeSource;
  readonly #sums = new LRUCache<string, Uint8Array>({
    maxSize: CACHED_SUMS_BYTES,
    sizeCalculation: (sums) => sums.length,
  });

  constructor(source: RangeSource) {
    this.#source = source;
  }

  /** @throws LandfallError DATA_LOSS for changed content, NOT_FOUND for an unknown digest */
  async read(digest: string, offset: number, length: number): Promise<Uint8Array> {
    const sizeBytes = await this.#source.size(digest);
    if (sizeBytes === undefined) throw contentMissing(digest);
    const end = Math.min(offset + length, sizeBytes);
    if (offset >= end) return new Uint8Array();
    const first = Math.floor(offset / SUM_CHUNK_BYTES);
    const start = first * SUM_CHUNK_BYTES;
    const aligned = Math.min(Math.ceil(end / SUM_CHUNK_BYTES) * SUM_CHUNK_BYTES, sizeBytes) - start;
    const bytes = await this.#source.readRaw(digest, start, aligned);
    const known = await this.#known(digest, sizeBytes);
    const sound = bytes.length === aligned && known !== undefined && sumsAgree(known, first, bytes);
    if (!sound) {
      const sums = await this.#rebuild(digest);
      // The whole is what its digest says; what was read just before must be the same.
      if (bytes.length !== aligned || !sumsAgree(sums, first, bytes)) throw contentChanged(digest);
    }
    return bytes.subarray(offset - start, end - start);
  }

  /** Forgets what is known of a content that is replaced or deleted. */
  forget(digest: string): void {
    this.#sums.delete(digest);
  }

  async #known(digest: string, sizeBytes: number): Promise<Uint8Array | undefined> {
    if (sizeBytes <= SUM_CHUNK_BYTES) return Buffer.from(digest.slice('sha256:'.length), 'hex');
    let sums = this.#sums.get(digest);
    if (!sums) {
      sums = await this.#source.loadSums(digest);
      if (sums?.length) this.#sums.set(digest, sums);
    }
    return sums && sumsFit(sums, sizeBytes) ? sums : undefined;
  }

  async #rebuild(digest: string): Promise<Uint8Array> {
    const builder = new ChunkSums();
    let sizeBytes = 0;
    for await (const chunk of this.#source.read(digest)) {
      builder.update(chunk);
      sizeBytes += chunk.length;
    }
    const sums = builder.finish();
    if (sizeBytes > SUM_CHUNK_BYTES) {
      await this.#source.saveSums(digest, sums);
      this.#sums.set(digest, sums);
    }
    return sums;
  }
}
