import { Agent, type IncomingMessage, request } from 'node:http';
import type { RpcClient } from '@landfall/common/rpc/client.ts';
import type { TextInferenceService } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';

/** What a client asks: greedy, and exactly this many tokens back. */
export interface Asked {
  prompt: string;
  maxTokens: number;
  /** `models:/name/version`; empty for the base. */
  model?: string;
  /** Called when text comes in. */
  onText?: () => void;
}

export interface Answered {
  inputTokens: number;
  outputTokens: number;
  /** When text came in, each by `performance.now()`. */
  arrivals: number[];
  text: string;
}

/** A server that the same load generator can ask. */
export interface Target {
  generate(asked: Asked): Promise<Answered>;
  close(): void;
}

/** A replica of text-inference over gRPC. */
export class ReplicaTarget implements Target {
  readonly #client: RpcClient<typeof TextInferenceService>;
  readonly #close: () => void;

  constructor(client: RpcClient<typeof TextInferenceService>, close: () => void) {
    this.#client = client;
    this.#close = close;
  }

  async generate({ prompt, maxTokens, model = '', onText }: Asked): Promise<Answered> {
    const answered: Answered = { inputTokens: 0, outputTokens: 0, arrivals: [], text: '' };
    const sampling = { temperature: 0, maxTokens, ignoreEos: true };
    for await (const { delta, usage } of this.#client.generate({ model, prompt, sampling })) {
      answered.arrivals.push(performance.now());
      answered.text += delta;
      onText?.();
      if (usage)
        Object.assign(answered, { inputTokens: usage.inputTokens, outputTokens: usage.outputTokens });
    }
    return answered;
  }

  close(): void {
    this.#close();
  }
}

interface Chunk {
  choices?: { text?: string }[];
  usage?: { prompt_tokens: number; completion_tokens: number } | null;
  error?: unknown;
}

/** Any OpenAI-compatible server, by streamed text completions. */
export class OpenAiTarget implements Target {
  readonly #url: URL;
  readonly #model: string;
  // A connection a stream, kept, as a client library does.
  readonly #agent = new Agent({ keepAlive: true });

  /** @param url of the server, with or without `/v1` */
  constructor(url: string, model: string) {
    this.#url = new URL(`${url.replace(/\/(v1\/?)?$/, '')}/v1/completions`);
    this.#model = model;
  }

  async generate({ prompt, maxTokens, onText }: Asked): Promise<Answered> {
    const answered: Answered = { inputTokens: 0, outputTokens: 0, arrivals: [], text: '' };
    for await (const data of events(await this.#post(prompt, maxTokens))) {
      if (data === '[DONE]') break;
      const chunk = JSON.parse(data) as Chunk;
      if (chunk.error) throw new Error(`${this.#url} failed: ${data.slice(0, 500)}`);
      const text = chunk.choices?.[0]?.text ?? '';
      if (text !== '') {
        answered.arrivals.push(performance.now());
        answered.text += text;
        onText?.();
      }
      if (chunk.usage) {
        answered.inputTokens = chunk.usage.prompt_tokens;
        answered.outputTokens = chunk.usage.completion_tokens;
      }
    }
    return answered;
  }

  async #post(prompt: string, maxTokens: number): Promise<IncomingMessage> {
    const body = JSON.stringify({
      model: this.#model,
      prompt,
      max_tokens: maxTokens,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
      ignore_eos: true,
      // llama-server's names: the cheapest greedy, and every prompt computed.
      top_k: 1,
      cache_prompt: false,
    });
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const call = request(this.#url, { method: 'POST', agent: this.#agent, headers }, resolve);
      call.once('error', reject).end(body);
    });
    if (response.statusCode === 200) return response;
    const text = (await response.setEncoding('utf8').toArray()).join('');
    throw new Error(`${this.#url} answered ${response.statusCode}: ${text.slice(0, 500)}`);
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** The data of server-sent events, however the stream is cut. */
export async function* events(stream: NodeJS.ReadableStream): AsyncGenerator<string> {
  let rest = '';
  stream.setEncoding('utf8');
  for await (const part of stream) {
    const lines = (rest + part).split('\n');
    rest = lines.pop()!;
    for (const line of lines) if (line.startsWith('data:')) yield line.slice('data:'.length).trim();
  }
}
