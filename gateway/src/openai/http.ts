import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { BadChatRequest, type OpenAiError, openAiError } from './errors.ts';

const INVALID_ARGUMENT = 3;
const INTERNAL = 13;
const RESOURCE_EXHAUSTED = 8;

/** Node's two kinds of response write alike; their types have no common form. */
interface Writer {
  writeHead(status: number, headers: Record<string, string>): unknown;
  write(text: string): boolean;
  end(text?: string): unknown;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  readonly headersSent: boolean;
}
export const writer = (response: EdgeResponse): Writer => response as unknown as Writer;

/** Sends an object as JSON. */
export function sendJson(
  response: EdgeResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  writer(response).writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(text)),
    'x-content-type-options': 'nosniff',
    ...headers,
  });
  writer(response).end(text);
}

/** What a failure says to an OpenAI client. */
export function toOpenAiError(cause: unknown, log: (cause: unknown) => void): OpenAiError {
  if (cause instanceof BadChatRequest) return openAiError(INVALID_ARGUMENT, cause.message, cause.param);
  if (cause instanceof LandfallError)
    return openAiError(cause.code, cause.message, cause.fieldViolations[0]?.field ?? null);
  log(cause);
  return openAiError(INTERNAL, 'internal error');
}

/** Seconds to wait, where the failure says so. */
export function retryHeaders(cause: unknown): Record<string, string> {
  const ms = cause instanceof LandfallError ? cause.retryAfterMs : undefined;
  return ms === undefined ? {} : { 'retry-after': String(Math.max(1, Math.ceil(ms / 1000))) };
}

/**
 * Reads a JSON body.
 * @throws BadChatRequest for anything that is not JSON, LandfallError RESOURCE_EXHAUSTED beyond `maxBytes`
 */
export async function readJson(request: EdgeRequest, maxBytes: number): Promise<unknown> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxBytes)
      throw new LandfallError(RESOURCE_EXHAUSTED, `the body is larger than ${maxBytes} bytes`);
    parts.push(part);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts)));
  } catch {
    throw new BadChatRequest('body', 'must be JSON in UTF-8');
  }
}
