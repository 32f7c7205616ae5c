import type { IncomingMessage } from 'node:http';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { BadRequest, BodyTooLarge } from './errors.ts';

/** Node's two kinds of response write alike; their types have no common form. */
interface Writer {
  setHeader(name: string, value: string): unknown;
  writeHead(status: number, headers: Record<string, string>): unknown;
  write(text: string): boolean;
  end(text?: string): unknown;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  removeListener(event: 'drain' | 'close', listener: () => void): unknown;
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

/** How long to wait, where the failure says so; OpenAI's clients read milliseconds before seconds. */
export function retryHeaders(cause: unknown): Record<string, string> {
  const ms = cause instanceof LandfallError ? cause.retryAfterMs : undefined;
  if (ms === undefined) return {};
  return {
    'retry-after': String(Math.max(1, Math.ceil(ms / 1000))),
    'retry-after-ms': String(Math.ceil(ms)),
  };
}

/**
 * Reads a JSON body.
 * @throws BadRequest for anything that is not JSON, BodyTooLarge beyond `maxBytes`
 */
export async function readJson(request: EdgeRequest, maxBytes: number): Promise<unknown> {
  const tooLarge = () => new BodyTooLarge(`the body is larger than ${maxBytes} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const parts: Buffer[] = [];
  let size = 0;
  // The request outlives the loop: its connection still has to carry the refusal.
  const body = (request as IncomingMessage).iterator({ destroyOnReturn: false });
  for await (const part of body as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxBytes) throw tooLarge();
    parts.push(part);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(parts)));
  } catch {
    throw new BadRequest('body', 'must be JSON in UTF-8');
  }
}
