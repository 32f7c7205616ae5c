import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants, type Http2ServerRequest, type ServerHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { Code, ConnectError } from '@connectrpc/connect';
import type { EdgeRequest, EdgeResponse } from './one-port.ts';

export interface PatienceLimits {
  /** Bytes a second that a body comes at, as long as it is its sender who is waited for. */
  minBytesPerSecond: number;
  /** Milliseconds over which that is measured. */
  bodyWindowMs: number;
  /** The same for a stream of messages, whose sender may think between them. */
  streamWindowMs: number;
  /** Milliseconds to the end of a request that is no stream. */
  requestTimeoutMs: number;
  /** Milliseconds that an answer waits without its reader taking any of it. */
  unreadTimeoutMs: number;
  /** A large write is taken as a whole or not: it gets another second for each so many bytes. */
  unreadBytesPerSecond: number;
}

const LOOK_MS = 1000;
/** How long the answer to a request that was given up may take, and how long it has to reach its reader. */
const LINGER_MS = 5000;
const FLUSH_MS = 500;

/** What is known of a request that is not over. */
interface Watched {
  request: EdgeRequest;
  response: EdgeResponse;
  /** Of HTTP/1.1: a request that was answered has let go of it. */
  socket: Socket | undefined;
  isStream: boolean;
  begunMs: number;
  /** Bytes of the body since its sender was last found to be quick enough, and milliseconds waited for them. */
  received: number;
  waitedMs: number;
  /** Of the answer, what waits to be read, and for how many milliseconds none of it was. */
  unread: number;
  unreadMs: number;
}

/**
 * Gives up requests whose bodies trickle in and answers that nobody reads. Time counts only while it is the peer who is
 * waited for: a service that is slow to take what has come is no fault of who sent it. As Kestrel does it, and unlike a
 * time-out between two bytes, a byte a second is not enough.
 */
export class Patience {
  readonly #limits: PatienceLimits;
  readonly #isStream: (path: string) => boolean;
  readonly #watched = new Set<Watched>();
  readonly #timer: NodeJS.Timeout;
  readonly #everyMs: number;
  #lookedMs = performance.now();

  /** @param isStream whether the path takes a stream of messages */
  constructor(limits: PatienceLimits, isStream: (path: string) => boolean) {
    this.#limits = limits;
    this.#isStream = isStream;
    this.#everyMs = Math.min(LOOK_MS, limits.bodyWindowMs / 4);
    this.#timer = setInterval(() => this.#look(), this.#everyMs).unref();
  }

  /** To be called before anybody reads the request. */
  watch(request: EdgeRequest, response: EdgeResponse): void {
    const watched = {
      ...{
        request,
        response,
        socket: request.httpVersionMajor === 1 ? request.socket : undefined,
        isStream: this.#isStream((request.url ?? '').split('?', 1)[0]!),
      },
      ...{ begunMs: performance.now(), received: 0, waitedMs: 0, unread: 0, unreadMs: 0 },
    };
    this.#watched.add(watched);
    const out = response as ServerResponse;
    out.once('close', () => {
      // A connection of HTTP/1.1 goes on reading a body that was answered before it had come.
      if (isWhole(request)) this.#watched.delete(watched);
    });
    out.on('drain', () => {
      watched.unreadMs = 0;
    });
    if (isWhole(request)) return;
    // Who has stopped reading is not to be brought down by what is said to the reader.
    (request as IncomingMessage).on('error', () => {});
    const body = bodyOf(request);
    const push = body.push;
    body.push = (chunk: Buffer | null, encoding) => {
      watched.received += chunk?.length ?? 0;
      return push.call(body, chunk, encoding);
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    // A process that did not get to run has not waited for anybody: what has come meanwhile is still to be read.
    const passed = Math.min(now - this.#lookedMs, this.#everyMs);
    this.#lookedMs = now;
    for (const watched of this.#watched) {
      if (watched.socket?.destroyed) this.#watched.delete(watched);
      else if (this.#isUnread(watched, passed)) cut(watched, constants.NGHTTP2_CANCEL);
      else if (!isWhole(watched.request)) this.#expect(watched, passed, now);
      else if ((watched.response as ServerResponse).closed) this.#watched.delete(watched);
    }
  }

  #expect(watched: Watched, passedMs: number, now: number): void {
    const { request, isStream, received } = watched;
    const { minBytesPerSecond, bodyWindowMs, streamWindowMs, requestTimeoutMs } = this.#limits;
    if (!isStream && now - watched.begunMs > requestTimeoutMs) {
      giveUp(watched, `the request did not end within ${requestTimeoutMs / 1000} s`);
      this.#watched.delete(watched);
      return;
    }
    if (bodyOf(request).readableLength > 0 || request.readableLength > 0) return;
    watched.waitedMs += passedMs;
    const windowMs = isStream ? streamWindowMs : bodyWindowMs;
    if (received >= (minBytesPerSecond * windowMs) / 1000) {
      watched.received = 0;
      watched.waitedMs = 0;
    } else if (watched.waitedMs > windowMs) {
      giveUp(
        watched,
        `the request's body came at less than ${minBytesPerSecond} bytes a second for ${windowMs / 1000} s`,
      );
      this.#watched.delete(watched);
    }
  }

  /** Whether an answer is there and its reader has taken none of it for too long. */
  #isUnread(watched: Watched, passedMs: number): boolean {
    const waits = waitingBytes(watched.response);
    const isStuck = waits > 0 && waits >= watched.unread;
    watched.unread = waits;
    watched.unreadMs = isStuck ? watched.unreadMs + passedMs : 0;
    const { unreadTimeoutMs, unreadBytesPerSecond } = this.#limits;
    return watched.unreadMs > unreadTimeoutMs + (waits / unreadBytesPerSecond) * 1000;
  }
}

const streamOf = (request: EdgeRequest): ServerHttp2Stream | undefined =>
  request.httpVersionMajor === 1 ? undefined : (request as Http2ServerRequest).stream;

/** Where the bytes of a body come in, before anybody reads them. */
const bodyOf = (request: EdgeRequest): Readable => streamOf(request) ?? (request as unknown as Readable);

/** Bytes of an answer that wait for its reader: HTTP/1.1 has one answer a connection at a time. */
const waitingBytes = (response: EdgeResponse): number =>
  'stream' in response ? response.stream.writableLength : (response.socket?.writableLength ?? 0);

/** Whether all of a request has come, read or not. */
function isWhole(request: EdgeRequest): boolean {
  const stream = streamOf(request);
  if (!stream) return request.complete || !hasBody(request as IncomingMessage);
  return stream.destroyed || stream.endAfterHeaders || stream.state.remoteClose === 1;
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;

/** Whoever reads the body finds out, and answers in the caller's protocol; then the rest is not waited for. */
function giveUp(watched: Watched, message: string): void {
  const { request, response } = watched;
  const out = response as ServerResponse;
  if (out.writableEnded) {
    cut(watched, constants.NGHTTP2_NO_ERROR);
    return;
  }
  // HTTP/1.1 then closes by itself behind the answer. HTTP/2 ends the stream, which drops what of it is not sent yet.
  if (request.httpVersionMajor === 1 && !out.headersSent) out.setHeader('connection', 'close');
  const stream = streamOf(request);
  stream?.once('finish', () => setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), FLUSH_MS));
  const late = setTimeout(() => cut(watched, constants.NGHTTP2_CANCEL), LINGER_MS);
  out.once('close', () => clearTimeout(late));
  (request as IncomingMessage).emit('error', new ConnectError(message, Code.DeadlineExceeded));
}

function cut({ request, socket }: Watched, code: number): void {
  const stream = streamOf(request);
  if (stream) stream.close(code);
  else socket?.destroy();
}
