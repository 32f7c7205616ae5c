/** A server on loopback that speaks OpenAI's protocol over HTTP, well or badly, as a test tells it. */

import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

export interface Asked {
  path: string;
  headers: IncomingMessage['headers'];
  body: Record<string, unknown>;
}

export type Answer = (response: ServerResponse, asked: Asked) => void | Promise<void>;

export class OpenAiTestServer implements AsyncDisposable {
  readonly url: string;
  /** Every generation that was asked for. */
  readonly asked: Asked[] = [];
  models = ['upstream', 'medical-qa'];
  /** How generations are answered, one after another; the last one stays. */
  answers: Answer[] = [says(['你', '好'])];
  /** Connections that the other side has closed before their answer was whole. */
  left = 0;
  readonly #server;

  static async start(): Promise<OpenAiTestServer> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new OpenAiTestServer(server);
  }

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    server.on('request', (request, response) => void this.#serve(request, response));
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    if (path === '/v1/models') {
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ object: 'list', data: this.models.map((id) => ({ id })) }));
      return;
    }
    const asked = { path, headers: request.headers, body: (await json(request)) as Asked['body'] };
    this.asked.push(asked);
    response.once('close', () => {
      if (!response.writableFinished) this.left++;
    });
    const answer = this.answers.length > 1 ? this.answers.shift()! : this.answers[0]!;
    await answer(response, asked);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

export const event = (body: unknown) => `data: ${typeof body === 'string' ? body : JSON.stringify(body)}\n\n`;

export function openStream(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
}

/** A chunk of a chat or text completion. */
export function chunk(
  { path }: Asked,
  text: string,
  reason: string | null = null,
  more: object = {},
): string {
  const chat = path.endsWith('/chat/completions');
  const content = chat ? { delta: text ? { content: text } : {} } : { text };
  return event({ id: 'x', choices: [{ index: 0, ...content, finish_reason: reason, ...more }] });
}

export const usage = (input: number, output: number) =>
  event({
    choices: [],
    usage: {
      prompt_tokens: input,
      completion_tokens: output,
      prompt_tokens_details: { cached_tokens: 3 },
    },
  });

/** A whole answer in these parts. */
export function says(parts: string[], reason = 'stop'): Answer {
  return (response, asked) => {
    openStream(response);
    response.write(': a comment\n\n');
    response.write(chunk(asked, ''));
    for (const part of parts) response.write(chunk(asked, part));
    response.write(chunk(asked, '', reason));
    response.write(usage(7, parts.length));
    response.end(event('[DONE]'));
  };
}

/** A refusal. */
export function refuses(status: number, error: object = {}, headers: Record<string, string> = {}): Answer {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify({ error: { message: 'secret at /srv/model', ...error } }));
  };
}

/** A stream with this in it, made with knowledge of what was asked for. */
export function sends(body: string | Buffer | ((asked: Asked) => string)): Answer {
  return (response, asked) => {
    openStream(response);
    response.end(typeof body === 'function' ? body(asked) : body);
  };
}

/** How a server gives a prompt back. */
export interface EchoOptions {
  /** Tokens that it makes whatever it is asked for. */
  makes: 0 | 1;
  /** Fewer are refused. */
  least?: number;
  /** Tokens before the text. */
  begins?: string[];
  /** Characters that are one token together. */
  joins?: string;
  /** It gives back what it has made alone. */
  ignores?: boolean;
}

/** What an echo says of a token that has so many before it. */
export const echoLogprob = (token: string, before: number): number =>
  -((token.codePointAt(0)! % 7) + 1) / (before + 2);

/** Gives the prompt back, a token a character, as vLLM does with `echo`. */
export function echoes({ makes, least = 0, begins = [], joins, ignores }: EchoOptions): Answer {
  return (response, asked) => {
    const { prompt, max_tokens: most } = asked.body as { prompt: string; max_tokens: number };
    if (most < least) return refuses(400, { param: 'max_tokens' })(response, asked);
    const [head, ...rest] = joins ? prompt.split(joins) : [prompt];
    const text = rest.length > 0 ? [...head!, joins!, ...rest.join(joins)] : [...prompt];
    const own = [...begins, ...text];
    const tokens = [...(ignores ? [] : own), ...Array.from({ length: makes }, () => 'made')];
    const logprobs = tokens.map((token, i) => (i === 0 ? null : echoLogprob(token, i - begins.length)));
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify({
        choices: [{ text: tokens.join(''), logprobs: { tokens, token_logprobs: logprobs } }],
        usage: { prompt_tokens: own.length, completion_tokens: makes },
      }),
    );
  };
}
