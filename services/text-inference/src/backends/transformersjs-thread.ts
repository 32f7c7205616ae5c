/** The service's side of the thread that runs transformers.js. */

import type { Worker } from 'node:worker_threads';
import { EventQueue } from '../engine/event-queue.ts';
import { GrammarError } from '../engine/grammar/grammar-state.ts';
import { startWorker } from '../engine/worker-start.ts';
import type {
  ExportedShape,
  FromThread,
  GenerateJob,
  JobEvent,
  ScoreJob,
  ThreadOptions,
  ToThread,
} from './transformersjs-protocol.ts';

type Answer = JobEvent | { logProbability: number };

export class TransformersThread {
  readonly shape: ExportedShape;
  /** Resolves with the reason when the thread ends without having been told to. */
  readonly lost: Promise<Error>;
  readonly #worker: Worker;
  readonly #calls = new Map<number, EventQueue<Answer>>();
  /** Words that tell the thread of callers who have left. */
  readonly #left = new Map<number, Int32Array>();
  readonly #exit: Promise<void>;
  #next = 1;
  #closing = false;

  /** @throws Error where the folder can not be served */
  static async start(options: ThreadOptions): Promise<TransformersThread> {
    const module = new URL('./transformersjs-worker.ts', import.meta.url);
    const [worker, first] = await startWorker<FromThread>(module, options);
    if (first.type !== 'ready')
      throw new Error(first.type === 'failed' ? first.message : 'unexpected message');
    return new TransformersThread(worker, first);
  }

  private constructor(worker: Worker, shape: ExportedShape) {
    this.#worker = worker;
    this.shape = shape;
    worker.on('message', (message: FromThread) => this.#receive(message));
    let cause = new Error('the thread has ended');
    worker.on('error', (error) => {
      cause = error instanceof Error ? error : new Error(String(error));
    });
    const lost = Promise.withResolvers<Error>();
    this.lost = lost.promise;
    this.#exit = new Promise((resolve) => {
      worker.on('exit', () => {
        for (const queue of this.#calls.values()) queue.end(cause);
        if (!this.#closing) lost.resolve(cause);
        resolve();
      });
    });
  }

  /** Runs the answers to one prompt after the requests before it. Leaving the iteration, or the signal, ends its work at the next token. */
  async *generate(job: GenerateJob, signal: AbortSignal): AsyncGenerator<JobEvent> {
    for await (const answer of this.#call((call, left) => ({ type: 'generate', call, job, left }), signal))
      yield answer as JobEvent;
  }

  /** Natural log-probability of a completion. */
  async score(job: ScoreJob, signal: AbortSignal): Promise<number> {
    for await (const answer of this.#call((call, left) => ({ type: 'score', call, job, left }), signal))
      return (answer as { logProbability: number }).logProbability;
    throw new Error('the thread ended the request without a score');
  }

  /** Ends the thread after the token that it is at; it is never terminated, since native code may run. */
  async close(): Promise<void> {
    this.#closing = true;
    for (const left of this.#left.values()) Atomics.store(left, 0, 1);
    this.#worker.postMessage({ type: 'close' } satisfies ToThread);
    await this.#exit;
  }

  async *#call(
    message: (call: number, left: Int32Array) => ToThread,
    signal: AbortSignal,
  ): AsyncGenerator<Answer> {
    signal.throwIfAborted();
    if (this.#closing) throw new Error('the thread is closing');
    const call = this.#next++;
    const queue = new EventQueue<Answer>();
    const left = new Int32Array(new SharedArrayBuffer(4));
    this.#calls.set(call, queue);
    this.#left.set(call, left);
    const abort = () => queue.end(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    signal.addEventListener('abort', abort, { once: true });
    try {
      const asked = message(call, left);
      this.#worker.postMessage(asked, memoryOf(asked));
      yield* queue;
    } finally {
      signal.removeEventListener('abort', abort);
      Atomics.store(left, 0, 1);
      this.#calls.delete(call);
      this.#left.delete(call);
    }
  }

  #receive(message: FromThread): void {
    if (!('call' in message)) return;
    const queue = this.#calls.get(message.call);
    if (message.type === 'event') queue?.push(message.event);
    else if (message.type === 'scored') queue?.push({ logProbability: message.logProbability });
    else if (message.type === 'done') queue?.end();
    else queue?.end(failureOf(message));
  }
}

function failureOf({ byConstraint, message }: FromThread & { type: 'call-failed' }): Error {
  return byConstraint ? new GrammarError(message) : new Error(message);
}

/** What images have become goes over to the thread. */
function memoryOf(message: ToThread): ArrayBuffer[] {
  if (message.type === 'close') return [];
  return Object.values(message.job.seen ?? {}).map(({ data }) => data.buffer as ArrayBuffer);
}
