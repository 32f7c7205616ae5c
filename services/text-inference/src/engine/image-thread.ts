/** The service's side of the thread that turns images into what the model reads in their place. */

import type { TowerPrecision } from '@landfall/graph/vision/packed-towers.ts';
import { type EncodedImage, type FromSeeing, SeeingThread } from './seeing-thread.ts';

export interface ImageThreadOptions {
  /** Local model folder with tower, projector and image processor. */
  folder: string;
  /** Folder where derived files may be kept from one start to the next. */
  cacheFolder: string;
  /** Threads of the numeric runtime. */
  threads: number;
  /** How the weights of the tower's layers are kept. */
  precision: TowerPrecision;
  /** What is kept of images that were seen, in bytes. */
  cacheBytes: number;
}

/** What the model reads in the place of an image. */
export interface SeenImage {
  /** Of its encoded bytes. */
  digest: string;
  /** [count, hidden size], in memory that threads share. */
  tokens: Float32Array;
}

export type ToImages =
  | { type: 'see'; call: number; tenant: string; images: EncodedImage[] }
  | { type: 'forget'; call: number }
  | { type: 'close' };

interface Seen {
  type: 'seen';
  call: number;
  images: SeenImage[];
  computed: number;
}

export type FromImages = FromSeeing | Seen;

export class ImageThread {
  readonly #thread: SeeingThread<Seen>;
  #computed = 0;

  /** Starts the thread and waits until tower and projector are loaded. @throws Error when they can't be */
  static async start(options: ImageThreadOptions): Promise<ImageThread> {
    return new ImageThread(await SeeingThread.start(new URL('./image-worker.ts', import.meta.url), options));
  }

  private constructor(thread: SeeingThread<Seen>) {
    this.#thread = thread;
  }

  /** Resolves with the reason if the thread ends without being asked to. */
  get lost(): Promise<Error> {
    return this.#thread.lost;
  }

  /** Images that went through the tower; the others were known. */
  get computed(): number {
    return this.#computed;
  }

  /**
   * What the model reads in the place of each image; those that the tenant has shown before are not computed again. The
   * signal takes images back whose turn has not come. The images' memory goes over to the thread.
   * @throws PromptError naming the field of an image that can't be read
   */
  async see(tenant: string, images: EncodedImage[], signal: AbortSignal): Promise<SeenImage[]> {
    signal.throwIfAborted();
    if (images.length === 0) return [];
    const seen = await this.#thread.ask(
      images,
      signal,
      (call): ToImages => ({ type: 'see', call, tenant, images }),
      (call): ToImages => ({ type: 'forget', call }),
    );
    this.#computed += seen.computed;
    return seen.images;
  }

  /** Ends the thread after the images that it is at, with native memory given back. */
  close(): Promise<void> {
    return this.#thread.close();
  }
}
