import type { Worker } from 'node:worker_threads';
import { PendingCalls } from './calls.ts';
import { PromptError } from './prompt.ts';
import { startWorker } from './worker-start.ts';

/** An encoded image in memory of its own, and the field of the request that it came in. */
export interface EncodedImage {
  field: string;
  bytes: Uint8Array<ArrayBuffer>;
}

/** What a thread that is asked about images says besides its answers. */
export type FromSeeing =
  | { type: 'ready' }
  | { type: 'failed'; message: string }
  | { type: 'refused'; call: number; field: string | undefined; message: string };

/** A thread that is asked about images: started, asked, left and ended alike whatever it makes of them. */
export class SeeingThread<Seen extends { type: 'seen'; call: number }> {
  readonly #worker: Worker;
  readonly #calls = new PendingCalls<Seen>();
  readonly #exit: Promise<void>;
  #closing = false;
  /** Resolves with the reason when the thread ends without having been told to. */
  readonly lost: Promise<Error>;

  /** Starts the thread and waits until it is ready. @throws Error when it can't be */
  static async start<Seen extends { type: 'seen'; call: number }>(
    module: URL,
    options: object,
  ): Promise<SeeingThread<Seen>> {
    const [worker, first] = await startWorker<FromSeeing | Seen>(module, options);
    if (first.type !== 'ready')
      throw new Error(first.type === 'failed' ? first.message : 'unexpected message');
    return new SeeingThread(worker);
  }

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: FromSeeing | Seen) => this.#receive(message));
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.lost = promise;
    let cause = new Error('the image thread has ended');
    worker.on('error', (error) => {
      cause = error instanceof Error ? error : new Error(String(error));
    });
    this.#exit = new Promise((done) => {
      worker.on('exit', () => {
        this.#calls.rejectAll(cause);
        if (!this.#closing) resolve(cause);
        done();
      });
    });
  }

  /**
   * @param images whose memory goes over to the thread
   * @param message that asks, by the number of the call
   * @param left that tells the thread of a caller who has left
   * @throws PromptError naming the field of an image that can't be read
   */
  async ask(
    images: readonly EncodedImage[],
    signal: AbortSignal,
    message: (call: number) => object,
    left?: (call: number) => object,
  ): Promise<Seen> {
    signal.throwIfAborted();
    let number = 0;
    const seen = this.#calls.call((call) => {
      number = call;
      this.#worker.postMessage(
        message(call),
        images.map(({ bytes }) => bytes.buffer),
      );
    });
    const leave = () => {
      if (left) this.#worker.postMessage(left(number));
      this.#calls.reject(number, signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    signal.addEventListener('abort', leave, { once: true });
    try {
      return await seen;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Ends the thread after the images that it is at. */
  async close(): Promise<void> {
    this.#closing = true;
    this.#worker.postMessage({ type: 'close' });
    await this.#exit;
  }

  #receive(message: FromSeeing | Seen): void {
    if (message.type === 'seen') this.#calls.resolve(message.call, message);
    if (message.type !== 'refused') return;
    const { call, field } = message;
    const error = field === undefined ? new Error(message.message) : new PromptError(field, message.message);
    this.#calls.reject(call, error);
  }
}
