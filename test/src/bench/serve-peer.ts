/**
 * llama.cpp as an OpenAI-compatible server: `serve-peer.ts MODULE GGUF PORT [THREADS] [STREAMS] [CONTEXT]`, where MODULE
 * is the folder of an installed node-llama-cpp (3.22), whose package brings prebuilt binaries. For a machine without a
 * good llama-server; batches as that does: each decode takes the next token of every stream and the prompts that wait.
 * (The package's own queue splits 16 streams over several decodes.) Greedy, text completions, nothing is kept.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** What is used of node-llama-cpp and the binding inside; it is no dependency, so its own types are not here. */
interface LlamaModule {
  getLlama(options: { gpu: false; build: 'never'; maxThreads: number }): Promise<Llama>;
}
interface Llama {
  systemInfo: string;
  _bindings: { AddonSampler: new (model: object) => Sampler };
  loadModel(options: { modelPath: string; gpuLayers: number }): Promise<Model>;
}
interface Model {
  _model: object;
  tokenize(text: string): number[];
  detokenize(tokens: readonly number[]): string;
  createContext(options: {
    sequences: number;
    contextSize: number;
    batchSize: number;
    flashAttention: boolean;
  }): Promise<{ _ctx: Binding }>;
}
interface Sampler {
  applyConfig(config: { temperature: number; topK: number }): void;
}
interface Binding {
  setThreads(threads: number): void;
  initBatch(size: number): void;
  /** @returns where the logits of the tokens at `logits` will be */
  addToBatch(sequence: number, position: number, tokens: Uint32Array, logits: Uint32Array): Uint32Array;
  decodeBatch(): Promise<void>;
  sampleToken(index: number, sampler: Sampler): Promise<number>;
  disposeSequence(sequence: number): void;
}

/** Tokens of one decode: what llama.cpp computes at once by default. */
const BATCH = 512;

interface Stream {
  sequence: number;
  /** Not decoded yet: the prompt, then the newest token. */
  waiting: number[];
  position: number;
  prompt: number;
  left: number;
  response: ServerResponse;
}

class Peer {
  readonly #model: Model;
  readonly #binding: Binding;
  readonly #sampler: Sampler;
  readonly #idle: number[];
  readonly #streams = new Set<Stream>();
  #running = false;

  constructor(model: Model, binding: Binding, sampler: Sampler, streams: number) {
    this.#model = model;
    this.#binding = binding;
    this.#sampler = sampler;
    this.#idle = Array.from({ length: streams }, (_, sequence) => sequence);
  }

  complete(text: string, maxTokens: number, response: ServerResponse): void {
    const sequence = this.#idle.pop();
    if (sequence === undefined) {
      response.writeHead(503).end('every stream is taken');
      return;
    }
    const waiting = [...this.#model.tokenize(text)];
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    this.#streams.add({ sequence, waiting, position: 0, prompt: waiting.length, left: maxTokens, response });
    void this.#run();
  }

  async #run(): Promise<void> {
    if (this.#running) return;
    this.#running = true;
    // Requests of the same moment begin together.
    await new Promise(setImmediate);
    while (this.#streams.size > 0) await this.#decode();
    this.#running = false;
  }

  async #decode(): Promise<void> {
    let room = BATCH;
    const sampled: [Stream, number][] = [];
    this.#binding.initBatch(BATCH);
    // Streams that run go before prompts.
    for (const stream of [...this.#streams].sort((a, b) => a.waiting.length - b.waiting.length)) {
      if (room === 0) break;
      const tokens = Uint32Array.from(stream.waiting.splice(0, room));
      const last = stream.waiting.length === 0;
      const logits = Uint32Array.from(last ? [tokens.length - 1] : []);
      const [index] = this.#binding.addToBatch(stream.sequence, stream.position, tokens, logits);
      stream.position += tokens.length;
      room -= tokens.length;
      if (last) sampled.push([stream, index!]);
    }
    await this.#binding.decodeBatch();
    for (const [stream, index] of sampled)
      this.#take(stream, await this.#binding.sampleToken(index, this.#sampler));
  }

  #take(stream: Stream, token: number): void {
    const { response, prompt, position, sequence } = stream;
    const send = (chunk: object) => response.write(`data: ${JSON.stringify(chunk)}\n\n`);
    send({ choices: [{ index: 0, text: this.#model.detokenize([token]) }] });
    stream.waiting = [token];
    stream.left--;
    if (stream.left > 0 && !response.destroyed) return;
    send({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: position - prompt + 1 } });
    response.end('data: [DONE]\n\n');
    this.#binding.disposeSequence(sequence);
    this.#streams.delete(stream);
    this.#idle.push(sequence);
  }
}

const [folder = '', gguf = '', port = '', threads = '2', streams = '16', contextSize = '256'] =
  process.argv.slice(2);
const url = pathToFileURL(join(folder, 'dist', 'index.js')).href;
const { getLlama } = (await import(url)) as LlamaModule;
const llama = await getLlama({ gpu: false, build: 'never', maxThreads: Number(threads) });
const model = await llama.loadModel({ modelPath: gguf, gpuLayers: 0 });
const sequences = Number(streams);
const context = await model.createContext({
  sequences,
  contextSize: Number(contextSize),
  batchSize: BATCH,
  flashAttention: true,
});
context._ctx.setThreads(Number(threads));
const sampler = new llama._bindings.AddonSampler(model._model);
sampler.applyConfig({ temperature: 0, topK: 1 });
const peer = new Peer(model, context._ctx, sampler, sequences);

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'GET') {
    response.end('ok');
    return;
  }
  const { prompt, max_tokens } = JSON.parse((await request.setEncoding('utf8').toArray()).join(''));
  peer.complete(String(prompt), Number(max_tokens), response);
}

const server = createServer((request, response) => {
  answer(request, response).catch((error: Error) => response.writeHead(400).end(error.message));
}).listen(Number(port), '127.0.0.1', () => process.stdout.write(`${llama.systemInfo}\nlistening\n`));
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
  process.exit(0);
});
