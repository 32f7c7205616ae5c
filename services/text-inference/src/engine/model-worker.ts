/**
 * Entry of the model's thread. `session.run` blocks the thread that calls it, so the model has one of its own;
 * messages are taken between two steps, which is how a cancellation takes effect within one.
 */

import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { AdapterTable, AdapterTableFullError } from './adapter-table.ts';
import { Engine, type SequenceEvent } from './engine.ts';
import { Grammars } from './grammar/grammars.ts';
import { Vocabulary } from './grammar/vocabulary.ts';
import type {
  DescribedToken,
  FromModel,
  ModelEvent,
  ModelLoad,
  ModelThreadOptions,
  Refusal,
  ToModel,
} from './protocol.ts';
import { AdapterError, type CreateRunner, type Runner } from './runner.ts';
import type { TokenLogprob } from './sampler.ts';
import { loadTokenizer, type Tokenizer } from './tokenizer.ts';

const port = parentPort!;
const options = workerData as ModelThreadOptions;
const send = (message: FromModel) => port.postMessage(message);

/** Messages in the order they came, whether the event loop had a turn to deliver them or not. */
class Inbox {
  readonly #delivered: ToModel[] = [];
  #wake: () => void = () => {};

  constructor() {
    port.on('message', (message: ToModel) => {
      this.#delivered.push(message);
      this.#wake();
    });
  }

  take(): ToModel | undefined {
    return this.#delivered.shift() ?? (receiveMessageOnPort(port)?.message as ToModel | undefined);
  }

  async wait(): Promise<void> {
    if (this.#delivered.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }
}

const inbox = new Inbox();

async function main(): Promise<void> {
  const { createRunner } = (await import(options.runnerModule)) as { createRunner: CreateRunner };
  const tokenizer = await loadTokenizer(options.runner.folder);
  const runner = await createRunner(options.runner);
  await new ModelLoop(runner, tokenizer).run();
}

class ModelLoop {
  readonly #runner: Runner;
  readonly #tokenizer: Tokenizer;
  readonly #adapters: AdapterTable;
  readonly #engine: Engine;
  #closing = false;

  constructor(runner: Runner, tokenizer: Tokenizer) {
    this.#runner = runner;
    this.#tokenizer = tokenizer;
    this.#adapters = new AdapterTable(runner.adapterSlots, (slot) => runner.clearAdapter(slot));
    const grammars = new Grammars(new Vocabulary(tokenizer.vocabulary(), tokenizer.endTokens));
    this.#engine = new Engine({
      runner,
      decode: tokenizer.decode,
      eos: new Set(tokenizer.endTokens),
      limits: options.limits,
      grammarStart: (spec) => grammars.start(spec),
      onLeave: (request) => request.adapter !== undefined && this.#adapters.release(request.adapter),
    });
  }

  async run(): Promise<void> {
    send({ type: 'ready', shape: this.#runner.shape, load: this.#load() });
    while (!this.#closing) {
      const message = inbox.take();
      if (message) await this.#handle(message);
      else if (this.#engine.busy) await this.#step();
      else await inbox.wait();
    }
    await this.#runner.release();
    port.close();
  }

  async #step(): Promise<void> {
    const report = await this.#engine.step();
    if (!report) return;
    const events = report.events.map((event) => this.#describe(event));
    send({ type: 'step', step: { ...report, events }, load: this.#load() });
  }

  async #handle(message: ToModel): Promise<void> {
    switch (message.type) {
      case 'submit':
        return this.#submit(message);
      case 'cancel':
        this.#engine.cancel(message.id);
        return send({ type: 'load', load: this.#load() });
      case 'load-adapter':
        return this.#loadAdapter(message);
      case 'unload-adapter':
        return this.#unloadAdapter(message);
      case 'close':
        this.#closing = true;
    }
  }

  #submit({ request }: ToModel & { type: 'submit' }): void {
    let slot = 0;
    if (request.adapter !== undefined) {
      const found = this.#adapters.acquire(request.adapter);
      if (found === undefined) {
        const text = `adapter ${request.adapter} is not loaded`;
        send({ type: 'refused', id: request.id, refusal: 'adapter-missing', message: text });
        return;
      }
      slot = found;
    }
    try {
      this.#engine.submit(request, slot);
    } catch (error) {
      if (request.adapter !== undefined) this.#adapters.release(request.adapter);
      send({ type: 'refused', id: request.id, refusal: 'request', message: messageOf(error) });
    }
  }

  async #loadAdapter({ call, key, folder }: ToModel & { type: 'load-adapter' }): Promise<void> {
    const start = performance.now();
    try {
      const changed = !this.#adapters.has(key);
      if (changed) await this.#adapters.add(key, (slot) => this.#runner.loadAdapter(slot, folder));
      // The load before the answer: whoever asks after the call sees what it did.
      send({ type: 'load', load: this.#load() });
      send({ type: 'answer', call, value: { loadMs: performance.now() - start, changed } });
    } catch (error) {
      let refusal: Refusal = 'internal';
      if (error instanceof AdapterError) refusal = 'adapter-unusable';
      if (error instanceof AdapterTableFullError) refusal = 'adapter-table-full';
      send({ type: 'load', load: this.#load() });
      send({ type: 'call-failed', call, refusal, message: messageOf(error) });
    }
  }

  /** Not awaited: it may take as long as the adapter's last request, which needs steps. */
  #unloadAdapter({ call, key }: ToModel & { type: 'unload-adapter' }): void {
    const start = performance.now();
    void this.#adapters.remove(key).then((changed) => {
      send({ type: 'load', load: this.#load() });
      send({ type: 'answer', call, value: { loadMs: performance.now() - start, changed } });
    });
  }

  #load(): ModelLoad {
    return { ...this.#engine.load, adapters: this.#adapters.keys };
  }

  #describe(event: SequenceEvent): ModelEvent {
    if (!event.logprob) return event as ModelEvent;
    const described = ({ token, logprob }: TokenLogprob): DescribedToken => ({
      ...this.#tokenizer.describe(token),
      logprob,
    });
    return { ...event, logprob: { ...described(event.logprob), top: event.logprob.top.map(described) } };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

main().catch((error: unknown) => {
  send({ type: 'failed', message: messageOf(error) });
  port.close();
});
