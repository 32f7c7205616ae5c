import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { ANSWER_HEADERS } from './security-headers.ts';

/** Why a connection gets no further than to be told so. */
export interface Refusal {
  /** Of HTTP. */
  status: number;
  /** As Connect writes it. */
  code: string;
  message: string;
  /** Seconds. */
  retryAfter?: number;
}

/** How long a refusal may take to be read. */
const LINGER_MS = 1000;
const SETTINGS = frame(0x4, Buffer.alloc(0));

/** Answers on the bare socket of HTTP/1.1, where nothing else has answered yet, and closes it. */
export function refuseHttp1(socket: Socket, { status, code, message, retryAfter }: Refusal): void {
  const body = JSON.stringify({ code, message });
  const headers = {
    ...ANSWER_HEADERS,
    ...{ 'content-type': 'application/json; charset=utf-8', 'x-request-id': randomUUID() },
    ...{ 'content-length': String(Buffer.byteLength(body)), connection: 'close' },
    ...(retryAfter ? { 'retry-after': String(retryAfter) } : {}),
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  endWith(socket, `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${lines.join('')}\r\n${body}`);
}

/** Tells a peer of HTTP/2 that none of its requests will be taken (GOAWAY, RFC 9113, 6.8), and closes. */
export function refuseHttp2(socket: Socket, { message }: Refusal): void {
  const head = Buffer.alloc(8);
  // Behind the last stream that was taken, which is none.
  head.writeUInt32BE(constants.NGHTTP2_ENHANCE_YOUR_CALM, 4);
  endWith(socket, Buffer.concat([SETTINGS, frame(0x7, Buffer.concat([head, Buffer.from(message)]))]));
}

/** A frame of stream 0 without flags. */
function frame(type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  return Buffer.concat([head, payload]);
}

/** Closing on bytes that were not read would take the answer with it: they are let run into nothing for a while. */
function endWith(socket: Socket, bytes: string | Buffer): void {
  socket.resume();
  socket.end(bytes);
  const late = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(late));
}
