import type { OpenAiConfig } from './backend-config.ts';
import { eventData } from './event-source.ts';
import { garbled, lost, refused, type ServerError, ServerFailure } from './openai-errors.ts';
import { Patience } from './patience.ts';

/** An error body that is read, at most. */
const MOST_ERROR_BYTES = 64 * 1024;
const MOST_LIST_BYTES = 8 * 1024 * 1024;

/** The one server that is spoken to: only its own address is ever opened, and nothing that it points to. */
export class OpenAiServer {
  readonly #config: OpenAiConfig;

  constructor(config: OpenAiConfig) {
    this.#config = config;
  }

  /** Events of a streamed answer up to `[DONE]`. @throws ServerFailure, or the caller's reason when it leaves */
  async *stream(path: string, body: object, caller: AbortSignal): AsyncGenerator<string> {
    using patience = new Patience(caller, this.#config);
    try {
      const response = await this.#fetch(path, patience, body);
      if (!response.headers.get('content-type')?.startsWith('text/event-stream'))
        throw garbled('no stream of events');
      const events = eventData(heard(response, patience), this.#config.maxAnswerBytes);
      for await (const data of events) {
        if (data === '[DONE]') return;
        yield data;
      }
    } catch (failure) {
      throw told(failure, patience);
    }
    throw lost(new Error('the answer broke off'));
  }

  /** A reply in one piece. @throws ServerFailure, or the caller's reason when it leaves */
  async reply(path: string, body: object, caller: AbortSignal): Promise<unknown> {
    using patience = new Patience(caller, this.#config);
    try {
      const response = await this.#fetch(path, patience, body, 'application/json');
      return JSON.parse(await textOf(response, this.#config.maxAnswerBytes));
    } catch (failure) {
      if (failure instanceof SyntaxError) throw garbled('a reply that is no JSON');
      throw told(failure, patience);
    }
  }

  /** Names of the models that it lists; undefined where it has no list. */
  async models(caller: AbortSignal): Promise<Set<string> | undefined> {
    using patience = new Patience(caller, this.#config);
    try {
      const response = await this.#fetch('/models', patience);
      const { data } = JSON.parse(await textOf(response, MOST_LIST_BYTES)) as { data?: unknown };
      if (!Array.isArray(data)) return undefined;
      return new Set(data.map((model: { id?: unknown } | null) => String(model?.id)));
    } catch (failure) {
      if (failure instanceof ServerFailure && failure.told.reason === 'MODEL_NOT_FOUND') return undefined;
      if (failure instanceof SyntaxError) throw garbled('a list of models that is no JSON');
      throw told(failure, patience);
    }
  }

  async #fetch(
    path: string,
    patience: Patience,
    body?: object,
    accept = body ? 'text/event-stream' : 'application/json',
  ): Promise<Response> {
    const { url, key } = this.#config;
    const response = await fetch(`${url}${path}`, {
      method: body ? 'POST' : 'GET',
      redirect: 'manual',
      signal: patience.signal,
      headers: {
        accept,
        // What is not packed can't become larger than it is.
        'accept-encoding': 'identity',
        ...(body ? { 'content-type': 'application/json' } : {}),
        ...(key ? { authorization: `Bearer ${key}` } : {}),
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    patience.heard();
    if (response.ok) return response;
    const error = response.status < 400 ? {} : await errorOf(response);
    throw refused(response.status, error, retryAfterMs(response.headers));
  }
}

async function* heard(response: Response, patience: Patience): AsyncGenerator<Uint8Array> {
  for await (const bytes of response.body ?? []) {
    patience.heard();
    yield bytes;
  }
}

/** A failure as whoever asked is told of it. */
function told(failure: unknown, patience: Patience): unknown {
  const reason = patience.reason(failure);
  // What is no failure of the server's own words is one of its connection.
  return reason === failure && !(failure instanceof ServerFailure) ? lost(failure) : reason;
}

async function textOf(response: Response, maxBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > maxBytes) throw garbled('a reply without end');
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

async function errorOf(response: Response): Promise<ServerError> {
  try {
    const body = JSON.parse(await textOf(response, MOST_ERROR_BYTES)) as { error?: ServerError } | null;
    // vLLM has put the fields at the top for a while.
    return body?.error ?? (body as ServerError | null) ?? {};
  } catch {
    return {};
  }
}

function retryAfterMs(headers: Headers): number | undefined {
  const ms = Number(headers.get('retry-after-ms') ?? Number.NaN);
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  if (ms >= 0) return ms;
  return seconds >= 0 ? 1000 * seconds : undefined;
}
