/** The service's side of the thread that makes of images what an exported model reads. */

import { type EncodedImage, type FromSeeing, SeeingThread } from '../engine/seeing-thread.ts';
import type { ExportedVision } from './transformersjs-families.ts';
import type { PlainTensor } from './transformersjs-looks.ts';

export interface SightOptions {
  /** Exported folder in the layout of onnx-community. */
  folder: string;
  vision: ExportedVision;
}

/** What is read of a prompt's images. */
export interface Sight {
  /** Inputs of the graphs, by their names, for one sequence. */
  tensors: Record<string, PlainTensor>;
  /** What stands in the prompt in the place of each image, in their order. */
  texts: string[];
  /** Tokens that they take outside of the prompt's text. */
  outside: number;
}

export type ToSight =
  | { type: 'see'; call: number; images: EncodedImage[]; whole: boolean }
  | { type: 'close' };

interface Seen {
  type: 'seen';
  call: number;
  sight: Sight;
}

export type FromSight = FromSeeing | Seen;

export class SightThread {
  readonly #thread: SeeingThread<Seen>;

  /** @throws Error where the folder's image processor can't be read */
  static async start(options: SightOptions): Promise<SightThread> {
    const module = new URL('./transformersjs-sight-worker.ts', import.meta.url);
    return new SightThread(await SeeingThread.start(module, options));
  }

  private constructor(thread: SeeingThread<Seen>) {
    this.#thread = thread;
  }

  /** Resolves with the reason when the thread ends without having been told to. */
  get lost(): Promise<Error> {
    return this.#thread.lost;
  }

  /**
   * What a model reads of images; their memory goes over to the thread.
   * @param whole not in parts, where the model takes parts
   * @throws PromptError naming the field of an image that can't be read
   */
  async see(images: EncodedImage[], signal: AbortSignal, whole = false): Promise<Sight> {
    const ask = (call: number): ToSight => ({ type: 'see', call, images, whole });
    return (await this.#thread.ask(images, signal, ask)).sight;
  }

  /** Ends the thread after the images that it is at. */
  close(): Promise<void> {
    return this.#thread.close();
  }
}
