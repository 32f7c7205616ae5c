import type { Worker } from 'node:worker_threads';
import { startWorker } from '../start-worker.ts';
import type { FromIndexes, IndexAnswer, IndexRequest, ToIndexes } from './protocol.ts';

interface Pending {
  resolve: (answer: never) => void;
  reject: (error: Error) => void;
}

/** The service's side of the thread that holds all indexes. */
export class IndexThread {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #ended: Promise<void>;
  #next = 1;
  #gone: Error | undefined;

  static async start(): Promise<IndexThread> {
    const module = new URL('./index-worker.ts', import.meta.url);
    const [worker] = await startWorker<FromIndexes>(module, undefined);
    return new IndexThread(worker);
  }

  private constructor(worker: Worker) {
    this.#worker = worker;
    worker.on('message', (message: FromIndexes) => {
      if ('ready' in message) return;
      const pending = this.#pending.get(message.call);
      this.#pending.delete(message.call);
      if ('failed' in message) pending?.reject(new Error(message.failed));
      else pending?.resolve(message.answer as never);
    });
    let cause = new Error('the thread of the indexes has ended');
    worker.on('error', (error) => {
      cause = error instanceof Error ? error : new Error(String(error));
    });
    this.#ended = new Promise((resolve) => {
      worker.on('exit', () => {
        this.#gone = cause;
        for (const { reject } of this.#pending.values()) reject(cause);
        this.#pending.clear();
        resolve();
      });
    });
  }

  ask<R extends IndexRequest>(request: R): Promise<IndexAnswer<R['type']>> {
    return new Promise((resolve, reject) => {
      if (this.#gone) return reject(this.#gone);
      const call = this.#next++;
      this.#pending.set(call, { resolve, reject });
      this.#worker.postMessage({ call, request } satisfies ToIndexes);
    });
  }

  /** Ends the thread after what it was asked. */
  async close(): Promise<void> {
    this.#worker.postMessage({ close: true } satisfies ToIndexes);
    await this.#ended;
  }
}
