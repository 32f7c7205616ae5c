import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants as http2 } from 'node:http2';
import { promisify } from 'node:util';
import { brotliCompress, brotliDecompress, constants, gunzip, gzip, inflate } from 'node:zlib';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { EdgeRequest, EdgeResponse } from '../edge/one-port.ts';
import { BadRequest, BodyTooLarge } from './errors.ts';

/** Node's two kinds of response write alike; their types have no common form. */
interface Writer {
  setHeader(name: string, value: string): unknown;
  writeHead(status: number, headers: Record<string, string>): unknown;
  write(part: string | Uint8Array): boolean;
  end(text?: string | Buffer): unknown;
  once(event: 'drain' | 'close', listener: () => void): unknown;
  removeListener(event: 'drain' | 'close', listener: () => void): unknown;
  readonly headersSent: boolean;
  readonly destroyed: boolean;
  readonly writableNeedDrain: boolean;
}
export const writer = (response: EdgeResponse): Writer => response as unknown as Writer;

/** Writes a part, and waits while the client reads more slowly. */
export async function writePart(response: EdgeResponse, part: string | Uint8Array): Promise<void> {
  const out = writer(response);
  // Whose reader has left tells of nothing any more.
  if (out.destroyed || out.write(part)) return;
  await new Promise<void>((resolve) => {
    const go = () => {
      out.removeListener('drain', go);
      out.removeListener('close', go);
      resolve();
    };
    out.once('drain', go);
    out.once('close', go);
  });
}

/** Ends an answer that has begun so that its reader notices that the rest is missing. */
export function breakOff(response: EdgeResponse): void {
  if ('stream' in response) response.stream.close(http2.NGHTTP2_INTERNAL_ERROR);
  else response.destroy();
}

/** Smaller answers are sent as they are: the head costs more than what would be saved. */
const WORTH_COMPRESSING = 1024;

/** Sends an object as JSON, compressed where that is worth it and its reader takes it. */
export function sendJson(
  response: EdgeResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const text = JSON.stringify(body);
  const send = (bytes: string | Buffer, more: Record<string, string> = {}) => {
    const out = writer(response);
    // Its reader may have left while it was compressed.
    if (out.headersSent || out.destroyed) return;
    out.writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': String(Buffer.byteLength(bytes)),
      'x-content-type-options': 'nosniff',
      ...more,
      ...headers,
    });
    out.end(bytes);
  };
  const coding = text.length < WORTH_COMPRESSING ? undefined : codingFor(response);
  if (!coding) {
    send(text);
    return;
  }
  CODERS[coding](text, (error, bytes) => {
    if (error) send(text);
    else send(bytes, { 'content-encoding': coding, vary: varyWith(response) });
  });
}

const BROTLI_FAST = { params: { [constants.BROTLI_PARAM_QUALITY]: 4 } };
type Coded = (error: Error | null, bytes: Buffer) => void;
const CODERS = {
  br: (text: string, done: Coded) => brotliCompress(text, BROTLI_FAST, done),
  gzip: (text: string, done: Coded) => gzip(text, done),
};

/** The first of our codings that a request takes; one with `q=0` is refused. */
function codingFor({ req }: EdgeResponse): keyof typeof CODERS | undefined {
  const accepted = String(req.headers['accept-encoding'] ?? '').toLowerCase();
  const takes = (name: string) =>
    accepted.split(',').some((each) => {
      const [coding, ...parameters] = each.split(';').map((part) => part.trim());
      return coding === name && !parameters.some((one) => /^q=0(\.0*)?$/.test(one));
    });
  return takes('br') ? 'br' : takes('gzip') ? 'gzip' : undefined;
}

/** Caches are to tell answers by what they were told by before, too. */
function varyWith(response: EdgeResponse): string {
  const before = (response as ServerResponse).getHeader('vary');
  return [before, 'Accept-Encoding'].filter(Boolean).join(', ');
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

/** Reads a body, decompressed. @throws BodyTooLarge beyond `maxBytes` before or after that, BadRequest */
export async function readBytes(request: EdgeRequest, maxBytes: number): Promise<Buffer> {
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
  const whole = Buffer.concat(parts);
  const coding = String(request.headers['content-encoding'] ?? 'identity').toLowerCase();
  return coding === 'identity' ? whole : decompressed(whole, coding, maxBytes);
}

/** Codings of bodies that are taken (RFC 9110, 8.4.1). */
const DECODERS = new Map([
  ['gzip', promisify(gunzip)],
  ['x-gzip', promisify(gunzip)],
  ['deflate', promisify(inflate)],
  ['br', promisify(brotliDecompress)],
]);

/** What a compressed body holds. @throws BodyTooLarge where that is more than `maxBytes`, BadRequest */
async function decompressed(bytes: Buffer, coding: string, maxBytes: number): Promise<Buffer> {
  const decode = DECODERS.get(coding);
  if (!decode) throw new BadRequest('content-encoding', 'must be gzip, deflate, br or identity', 415);
  try {
    return await decode(bytes, { maxOutputLength: maxBytes });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') {
      throw new BodyTooLarge(`the body is larger than ${maxBytes} bytes when decompressed`);
    }
    throw new BadRequest('body', `is not what its content-encoding says (${coding})`);
  }
}

/**
 * Reads a JSON body.
 * @throws BadRequest for anything that is not JSON, BodyTooLarge beyond `maxBytes`
 */
export async function readJson(request: EdgeRequest, maxBytes: number): Promise<unknown> {
  const bytes = await readBytes(request, maxBytes);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw new BadRequest('body', 'must be JSON in UTF-8');
  }
}
