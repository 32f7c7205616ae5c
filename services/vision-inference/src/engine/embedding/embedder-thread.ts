import type { Worker } from 'node:worker_threads';
import type { Pixels } from '@landfall/graph/vision/resample.ts';
import { startWorker } from '../start-worker.ts';
import {
  type EmbedderOptions,
  type FromEmbedder,
  type Item,
  NoEmbedderError,
  type ToEmbedder,
} from './protocol.ts';

interface Pending {
  seen: () => void;
  resolve: (vector: Float32Array) => void;
  reject: (error: unknown) => void;
}

/** The service's side of an embedding model's thread. */
export class EmbedderThread {
  readonly dimensions: number;
  /** Resolves when the thread has ended, asked to or not. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #next = 1;
  #cause = new Error('the thread of the embedding model has ended');

  /** Starts the thread and waits until the model is loaded. @throws NoEmbedderError */
  static async start(options: EmbedderOptions): Promise<EmbedderThread> {
    const module = new URL('./embedder-worker.ts', import.meta.url);
    const [worker, first] = await startWorker<FromEmbedder>(module, options);
    if (first.type !== 'ready')
      throw new NoEmbedderError(
        first.type === 'failed' ? first.message : `unexpected first message ${first.type}`,
      );
    return new EmbedderThread(worker, first.dimensions);
  }

  private constructor(worker: Worker, dimensions: number) {
    this.#worker = worker;
    this.dimensions = dimensions;
    worker.on('message', (message: FromEmbedder) => {
      if (message.type === 'seen') this.#pending.get(message.id)?.seen();
      else if (message.type === 'embedded') this.#take(message.id)?.resolve(message.vector);
      else if (message.type === 'refused') this.#take(message.id)?.reject(new Error(message.message));
    });
    worker.on('error', (error) => {
      this.#cause = error instanceof Error ? error : new Error(String(error));
    });
    this.ended = new Promise((resolve) => {
      worker.on('exit', () => {
        for (const id of [...this.#pending.keys()]) this.#take(id)!.reject(this.#cause);
        resolve();
      });
    });
  }

  /** Images and texts that have no vector yet. */
  get waiting(): number {
    return this.#pending.size;
  }

  /**
   * A vector of length 1.
   * @param seen called once the pixels are done with, before there is a vector
   */
  image(image: Pixels, seen: () => void, signal: AbortSignal): Promise<Float32Array> {
    return this.#embed((id) => ({ id, image }), signal, seen);
  }

  /** A vector of length 1. */
  text(text: string, signal: AbortSignal): Promise<Float32Array> {
    return this.#embed((id) => ({ id, text }), signal);
  }

  /** Ends the thread after what waits. */
  async close(): Promise<void> {
    this.#send({ type: 'close' });
    await this.ended;
  }

  async #embed(item: (id: number) => Item, signal: AbortSignal, seen = () => {}): Promise<Float32Array> {
    signal.throwIfAborted();
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<Float32Array>();
    this.#pending.set(id, { seen, resolve, reject });
    const drop = () => {
      this.#send({ type: 'drop', id });
      this.#take(id)?.reject(signal.reason);
    };
    signal.addEventListener('abort', drop, { once: true });
    this.#send({ type: 'embed', item: item(id) });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', drop);
    }
  }

  #send(message: ToEmbedder): void {
    this.#worker.postMessage(message);
  }

  #take(id: number): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    return pending;
  }
}
