/** The service's side of the model's thread: requests in, events out, the load as it was after the last step. */

import type { Worker } from 'node:worker_threads';
import { PendingCalls } from './calls.ts';
import { EventQueue } from './event-queue.ts';
import {
  type AdapterAnswer,
  type FromModel,
  type ModelEvent,
  type ModelLoad,
  type ModelStep,
  type ModelThreadOptions,
  RefusedError,
  type ToModel,
} from './protocol.ts';
import type { ModelShape } from './runner.ts';
import type { EngineRequest } from './sequence.ts';
import { startWorker } from './worker-start.ts';

/** One event of a request with the step that it came from. */
export interface RequestEvent extends ModelEvent {
  step: Omit<ModelStep, 'events'>;
}

/** Weight of the newest step in the mean step time. */
const STEP_WEIGHT = 0.1;

export class ModelThread {
  readonly shape: ModelShape;
  readonly #worker: Worker;
  readonly #calls = new PendingCalls<AdapterAnswer>();
  readonly #requests = new Map<string, EventQueue<RequestEvent>>();
  readonly #listeners = new Set<() => void>();
  #load: ModelLoad;
  #stepMs = 0;
  #promptTokenMs = 0;
  #finished = 0;
  #outputTokens = 0;
  #closing = false;
  readonly #exit: Promise<void>;
  /** Resolves with the reason if the thread ends without being asked to. */
  readonly lost: Promise<Error>;

  /** Starts the thread and waits until the model is loaded. @throws Error when it can't be. */
  static async start(options: ModelThreadOptions): Promise<ModelThread> {
    const module = new URL('./model-worker.ts', import.meta.url);
    const [worker, first] = await startWorker<FromModel>(module, options);
    if (first.type !== 'ready') {
      throw new Error(first.type === 'failed' ? first.message : `unexpected first message ${first.type}`);
    }
    return new ModelThread(worker, first.shape, first.load);
  }

  private constructor(worker: Worker, shape: ModelShape, load: ModelLoad) {
    this.#worker = worker;
    this.shape = shape;
    this.#load = load;
    worker.on('message', (message: FromModel) => this.#receive(message));
    const { promise, resolve } = Promise.withResolvers<Error>();
    this.lost = promise;
    let cause: Error | undefined;
    worker.on('error', (error) => {
      cause = error instanceof Error ? error : new Error(String(error));
    });
    this.#exit = new Promise((done) => {
      worker.on('exit', (code) => {
        const reason = cause ?? new Error(`the model thread ended with code ${code}`);
        this.#calls.rejectAll(reason);
        for (const id of [...this.#requests.keys()]) this.#end(id, reason);
        if (!this.#closing) resolve(reason);
        done();
      });
    });
  }

  /** Requests that were submitted and have not ended. */
  get active(): number {
    return this.#requests.size;
  }

  get load(): ModelLoad & { stepMs: number; promptTokenMs: number; finished: number; outputTokens: number } {
    return {
      ...this.#load,
      stepMs: this.#stepMs,
      promptTokenMs: this.#promptTokenMs,
      finished: this.#finished,
      outputTokens: this.#outputTokens,
    };
  }

  /** Calls back after each change of the load until the returned function is called. */
  onLoad(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Runs a request. The iteration ends after the event with `finish`; leaving it, or the signal, takes the request
   * out of the batch before its next step.
   * @throws RefusedError where the model's thread turned the request down.
   */
  async *generate(request: EngineRequest, signal: AbortSignal): AsyncGenerator<RequestEvent, void, void> {
    signal.throwIfAborted();
    if (this.#closing) throw new Error('the model thread is closing');
    const queue = new EventQueue<RequestEvent>();
    this.#requests.set(request.id, queue);
    const abort = () => queue.end(signal.reason instanceof Error ? signal.reason : new Error('aborted'));
    signal.addEventListener('abort', abort, { once: true });
    let ended = false;
    try {
      this.#send({ type: 'submit', request });
      for await (const event of queue) {
        ended = event.finish !== undefined;
        yield event;
      }
    } catch (error) {
      ended ||= error instanceof RefusedError;
      throw error;
    } finally {
      signal.removeEventListener('abort', abort);
      if (!ended) this.#send({ type: 'cancel', id: request.id });
      if (this.#requests.delete(request.id)) this.#finished++;
      this.#notify();
    }
  }

  /** Makes the adapter of a local folder usable under a key. @throws RefusedError */
  loadAdapter(key: string, folder: string): Promise<AdapterAnswer> {
    return this.#calls.call((call) => this.#send({ type: 'load-adapter', call, key, folder }));
  }

  /** Drops an adapter after its last request. */
  unloadAdapter(key: string): Promise<AdapterAnswer> {
    return this.#calls.call((call) => this.#send({ type: 'unload-adapter', call, key }));
  }

  /**
   * Ends the thread after the step that runs, with native memory given back. Requests that still run are cancelled.
   * The thread is never terminated: that aborts the process while a step runs.
   */
  async close(): Promise<void> {
    this.#closing = true;
    for (const id of [...this.#requests.keys()]) this.#end(id, new Error('the model thread is closing'));
    this.#send({ type: 'close' });
    await this.#exit;
  }

  #receive(message: FromModel): void {
    if (message.type === 'step') this.#onStep(message.step, message.load);
    else if (message.type === 'load') this.#load = message.load;
    else if (message.type === 'answer') this.#calls.resolve(message.call, message.value);
    else if (message.type === 'call-failed') {
      this.#calls.reject(message.call, new RefusedError(message.refusal, message.message));
    } else if (message.type === 'refused') {
      this.#end(message.id, new RefusedError(message.refusal, message.message));
    }
    this.#notify();
  }

  #onStep({ events, ...step }: ModelStep, load: ModelLoad): void {
    this.#load = load;
    this.#stepMs += (step.durationMs - this.#stepMs) * (this.#stepMs === 0 ? 1 : STEP_WEIGHT);
    if (step.kind === 'prefill') {
      const tokenMs = step.durationMs / step.tokens;
      this.#promptTokenMs += (tokenMs - this.#promptTokenMs) * (this.#promptTokenMs === 0 ? 1 : STEP_WEIGHT);
    }
    for (const event of events) {
      this.#outputTokens += event.tokens;
      const queue = this.#requests.get(event.id);
      queue?.push({ ...event, step });
      if (event.finish) queue?.end();
    }
  }

  #end(id: string, error: Error): void {
    this.#requests.get(id)?.end(error);
  }

  #send(message: ToModel): void {
    this.#worker.postMessage(message);
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }
}
