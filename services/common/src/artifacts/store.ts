/** A blob that is in a store. */
export interface Blob {
  /** `sha256:...` of its content. */
  digest: string;
  sizeBytes: number;
}

export interface PutOptions {
  /** What the content must be; a difference is DATA_LOSS and nothing is kept. */
  digest?: string;
  sizeBytes?: number;
  /** More than this is INVALID_ARGUMENT and nothing is kept. */
  maxBytes?: number;
  signal?: AbortSignal;
}

/** Blobs by the digest of their content, on disk or in an object store; see location.ts. */
export interface ArtifactStore {
  /** Takes content; it is durable when this resolves. The same content twice is one blob. */
  put(content: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<Blob>;
  /** Size in bytes, or undefined when it is not there. */
  size(digest: string): Promise<number | undefined>;
  /**
   * The whole content, verified while it is read: the last chunk is given out only when the digest agrees.
   * @throws LandfallError DATA_LOSS for changed content, NOT_FOUND for an unknown digest
   */
  read(digest: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * Up to `length` bytes from `offset`, verified on every read; whole MiB are the least that is read for that.
   * @throws LandfallError DATA_LOSS for changed content, NOT_FOUND for an unknown digest
   */
  readRange(digest: string, offset: number, length: number): Promise<Uint8Array>;
  delete(digest: string): Promise<void>;
  /** Every digest in the store. */
  list(): AsyncIterable<string>;
}
