import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttp2, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export type EdgeRequest = IncomingMessage | Http2ServerRequest;
export type EdgeResponse = ServerResponse | Http2ServerResponse;
export type EdgeHandler = (request: EdgeRequest, response: EdgeResponse) => void;

/** What a connection may cost before it says anything useful. */
export interface EdgeLimits {
  /** Milliseconds from the connection to its first byte, and to the end of a request's headers. */
  headersTimeoutMs: number;
  /** Milliseconds to the end of a request. */
  requestTimeoutMs: number;
  /** Connections at once. */
  maxConnections: number;
  /** HTTP/2 streams a connection. */
  maxStreams: number;
}

/** First bytes of HTTP/2 without TLS (RFC 9113, 3.4); no HTTP/1 method begins with them. */
const PREFACE = Buffer.from('PRI * HTTP/2.0');

/**
 * HTTP/1.1 and HTTP/2 without TLS on one port: browsers and curl speak the first, gRPC needs the second. The first
 * bytes of a connection tell which, and the socket goes to the server that speaks it.
 */
export class OnePortServer {
  readonly #net: Server;
  readonly #http1;
  readonly #http2;
  readonly #sockets = new Set<Socket>();
  readonly #limits: EdgeLimits;

  constructor(handler: EdgeHandler, limits: EdgeLimits) {
    this.#limits = limits;
    this.#http1 = createHttp1(
      {
        headersTimeout: limits.headersTimeoutMs,
        requestTimeout: limits.requestTimeoutMs,
        maxHeaderSize: 16 * 1024,
      },
      handler,
    );
    this.#http2 = createHttp2(
      {
        maxSessionMemory: 32,
        settings: {
          maxConcurrentStreams: limits.maxStreams,
          maxHeaderListSize: 16 * 1024,
          initialWindowSize: 1024 * 1024,
        },
      },
      handler,
    );
    // A peer that breaks the protocol costs its own session only.
    this.#http2.on('sessionError', () => {});
    this.#http1.on('clientError', (_error, socket) => socket.destroy());
    this.#net = createServer({ noDelay: true }, (socket) => this.#sniff(socket));
    this.#net.maxConnections = limits.maxConnections;
  }

  /** Listens and resolves with the address. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#net.once('error', reject);
      this.#net.listen(port, host, resolve);
    });
    return this.#net.address() as AddressInfo;
  }

  /** Takes no more connections, lets running requests end within the grace period, then closes what is left. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#net.close(() => resolve()));
    this.#http1.closeIdleConnections();
    this.#http2.emit('landfall:drain');
    const late = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(late);
  }

  #sniff(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(this.#limits.headersTimeoutMs, () => socket.destroy());
    let seen: Buffer = Buffer.alloc(0);
    const read = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
      const length = Math.min(seen.length, PREFACE.length);
      const mayBeHttp2 = seen.subarray(0, length).equals(PREFACE.subarray(0, length));
      if (mayBeHttp2 && seen.length < PREFACE.length) return;
      socket.removeListener('readable', read);
      socket.setTimeout(0);
      socket.unshift(seen);
      if (mayBeHttp2) this.#takeHttp2(socket);
      else this.#http1.emit('connection', socket);
    };
    socket.on('readable', read);
  }

  #takeHttp2(socket: Socket): void {
    this.#http2.once('session', (session) => {
      const drain = () => session.close();
      this.#http2.once('landfall:drain', drain);
      session.once('close', () => this.#http2.removeListener('landfall:drain', drain));
    });
    this.#http2.emit('connection', socket);
  }
}
