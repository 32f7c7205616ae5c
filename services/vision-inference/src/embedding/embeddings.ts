import { failedPrecondition, resourceExhausted } from '@landfall/common/errors/errors.ts';
import { unlessAborted } from '@landfall/common/lifecycle/unless-aborted.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { Room } from '../domain/room.ts';
import { EmbedderThread } from '../engine/embedding/embedder-thread.ts';
import { type EmbedderOptions, NoEmbedderError } from '../engine/embedding/protocol.ts';
import { imageField } from './image-field.ts';
import type { ModelVersion, ModelVersions } from './model-versions.ts';
import { VectorCache } from './vector-cache.ts';

export interface EmbeddingsOptions extends Omit<EmbedderOptions, 'folder'> {
  versions: ModelVersions;
  logger: Logger;
  /** Images decoded at once. */
  decodeAtOnce: number;
  /** Images and texts that may wait for a model. */
  maxWaiting: number;
  /** Models loaded at once; the one that was not asked for the longest goes first. */
  maxModels: number;
  /** Of vectors that are remembered. */
  cacheBytes: number;
}

/** What is embedded, and which field of the request it stood in. */
export type Content = { field: string; image: Uint8Array } | { field: string; text: string };

interface Loaded {
  thread: Promise<EmbedderThread>;
  /** Calls that need it. */
  users: number;
}

/** Images and texts to vectors, by whichever CLIP model is asked for. */
export class Embeddings implements AsyncDisposable {
  readonly #options: EmbeddingsOptions;
  readonly #cache: VectorCache;
  readonly #decoding: Room;
  /** By digest of the model's files: two tenants with the same files share one thread. In order of use. */
  readonly #loaded = new Map<string, Loaded>();
  readonly #stopping = new AbortController();

  constructor(options: EmbeddingsOptions) {
    this.#options = options;
    this.#cache = new VectorCache(options.cacheBytes);
    this.#decoding = new Room(options.decodeAtOnce, options.maxWaiting);
  }

  /** Values of a model's vectors. @throws LandfallError FAILED_PRECONDITION when it is none that embeds */
  dimensions(model: ModelVersion, signal: AbortSignal): Promise<number> {
    return this.#with(model, signal, async ({ dimensions }) => dimensions);
  }

  /**
   * @returns a vector of length 1 for each, in order
   * @throws LandfallError INVALID_ARGUMENT for a broken image, RESOURCE_EXHAUSTED when too much waits
   */
  embed(model: ModelVersion, contents: readonly Content[], signal: AbortSignal): Promise<Float32Array[]> {
    return this.#with(model, signal, async (thread) => {
      if (thread.waiting > 0 && thread.waiting + contents.length > this.#options.maxWaiting) {
        throw resourceExhausted(
          `the queue is full: ${thread.waiting} images and texts wait for ${model.ref}`,
          {
            ...{ reason: 'QUEUE_FULL', retryAfterMs: 1000 },
          },
        );
      }
      // The first that fails ends the others: nobody waits for them any more.
      const failed = new AbortController();
      const either = AbortSignal.any([signal, failed.signal]);
      try {
        return await Promise.all(contents.map((content) => this.#one(thread, model, content, either)));
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    for (const { thread } of this.#loaded.values()) {
      await thread.then(
        (started) => started.close(),
        () => {},
      );
    }
  }

  async #one(
    thread: EmbedderThread,
    { tenant, digest }: ModelVersion,
    content: Content,
    signal: AbortSignal,
  ): Promise<Float32Array> {
    const source = 'image' in content ? content.image : content.text;
    const kind = 'image' in content ? 'image' : 'text';
    const key = this.#cache.key({ tenant, model: digest, kind, content: source });
    const known = this.#cache.get(key);
    if (known) return known;
    const vector = await ('text' in content
      ? thread.text(content.text, signal)
      : this.#image(thread, content, signal));
    this.#cache.set(key, vector);
    return vector;
  }

  async #image(
    thread: EmbedderThread,
    { field, image }: { field: string; image: Uint8Array },
    signal: AbortSignal,
  ): Promise<Float32Array> {
    // A place is kept until the pixels are done with: 25 megapixels are 75 MB.
    const { vector } = await this.#decoding.within(signal, async () => {
      const { width, height, rgb: data } = await imageField(field, image);
      const seen = Promise.withResolvers<void>();
      const vector = thread.image({ width, height, channels: 3, data }, seen.resolve, signal);
      await Promise.race([seen.promise, vector]);
      return { vector };
    });
    return vector;
  }

  async #with<T>(
    model: ModelVersion,
    signal: AbortSignal,
    work: (thread: EmbedderThread) => Promise<T>,
  ): Promise<T> {
    const { digest, ref } = model;
    const loaded = this.#loaded.get(digest) ?? this.#load(model);
    // Last in order of use.
    this.#loaded.delete(digest);
    this.#loaded.set(digest, loaded);
    loaded.users++;
    try {
      this.#endOthers();
      return await work(await unlessAborted(loaded.thread, signal));
    } catch (error) {
      if (!(error instanceof NoEmbedderError)) throw error;
      throw failedPrecondition(`${ref} is no model that embeds images and texts: ${error.message}`, {
        ...{ reason: 'NO_EMBEDDING_MODEL', cause: error },
      });
    } finally {
      loaded.users--;
    }
  }

  /** The load is everybody's who asks in the meantime: no single caller ends it. */
  #load(model: ModelVersion): Loaded {
    const { versions, cacheFolder, threads, precision, logger } = this.#options;
    const start = async () => {
      const folder = await versions.folder(model, this.#stopping.signal);
      const thread = await EmbedderThread.start({ folder, cacheFolder, threads, precision });
      logger.info({ event: 'embedder.loaded', model: model.ref, precision }, 'embedding model loaded');
      return thread;
    };
    const loaded: Loaded = { thread: start(), users: 0 };
    const forget = () => {
      if (this.#loaded.get(model.digest) === loaded) this.#loaded.delete(model.digest);
    };
    loaded.thread.then(({ ended }) => ended.then(forget), forget);
    return loaded;
  }

  #endOthers(): void {
    for (const [digest, { thread, users }] of this.#loaded) {
      if (this.#loaded.size <= this.#options.maxModels) return;
      if (users > 0) continue;
      this.#loaded.delete(digest);
      void thread.then((started) => started.close());
    }
  }
}
