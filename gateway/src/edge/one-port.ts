import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from 'node:http';
import {
  createServer as createHttp2,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import {
  createServer as createTls,
  type SecureContextOptions,
  type TLSSocket,
  type Server as TlsServer,
} from 'node:tls';
import { type EdgeTls, secureContext } from './edge-tls.ts';
import { Patience, type PatienceLimits } from './patience.ts';
import { Peers } from './peers.ts';
import { type Refusal, refuseHttp1, refuseHttp2 } from './refusal.ts';

export type EdgeRequest = IncomingMessage | Http2ServerRequest;
export type EdgeResponse = ServerResponse | Http2ServerResponse;
export type EdgeHandler = (request: EdgeRequest, response: EdgeResponse) => void;

/** What a connection may cost. */
export interface EdgeLimits extends PatienceLimits {
  /** Milliseconds from the connection to its first byte, and to the end of a request's headers. */
  headersTimeoutMs: number;
  /** Milliseconds that a connection may lie idle between requests; HTTP/2's, which clients share, for four times that. */
  idleTimeoutMs: number;
  /** Bytes of a request's headers. */
  maxHeaderBytes: number;
  /** Connections at once. */
  maxConnections: number;
  /** Connections at once of one address; of one network of 64 bits in IPv6. */
  maxConnectionsPerPeer: number;
  /** HTTP/2 streams a connection. */
  maxStreams: number;
}

/** How late a connection may be found to have used up its time. */
const CHECK_MS = 5000;
/** Connections that wait to be taken while the process is busy; the system's own bound holds too. */
const BACKLOG = 4096;
/** A peer that went away without a word is found out after so long without traffic, and ten unanswered probes. */
const KEEP_ALIVE_MS = 30_000;
const TCP_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS } as const;
/** Connections over a limit that are told so at once; those beyond are closed without. */
const TOLD = 64;
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
  readonly #sessions = new Set<ServerHttp2Session>();
  readonly #limits: EdgeLimits;
  readonly #peers = new Peers();
  readonly #patience: Patience;
  /** The last answer of each connection of HTTP/1.1. */
  readonly #answers = new WeakMap<Socket, ServerResponse>();

  /**
   * @param tls of the door; without it, it speaks plainly
   * @param isStream whether a path takes a stream of messages, whose sender may pause
   */
  constructor(
    handler: EdgeHandler,
    limits: EdgeLimits,
    tls?: EdgeTls,
    isStream: (path: string) => boolean = () => false,
  ) {
    this.#limits = limits;
    this.#patience = new Patience(limits, isStream);
    const patient: EdgeHandler = (request, response) => {
      if (request.httpVersionMajor === 1) this.#answers.set(request.socket, response as ServerResponse);
      this.#patience.watch(request, response);
      handler(request, response);
    };
    this.#http1 = createHttp1(
      {
        headersTimeout: limits.headersTimeoutMs,
        // Bodies are waited for by their rate, which a large one passes and a slow one does not.
        requestTimeout: 0,
        keepAliveTimeout: limits.idleTimeoutMs,
        connectionsCheckingInterval: Math.min(limits.headersTimeoutMs, CHECK_MS),
        maxHeaderSize: limits.maxHeaderBytes,
        // Answered further in, as every other request that is none.
        requireHostHeader: false,
      },
      patient,
    );
    this.#http1.on('clientError', (error, socket) => this.#answerBroken(error, socket as Socket));
    this.#http1.on('checkExpectation', (request: IncomingMessage) =>
      refuseHttp1(request.socket, {
        ...{ status: 417, code: 'invalid_argument' },
        message: 'expect: nothing but 100-continue is known here',
      }),
    );
    this.#http2 = createHttp2(
      {
        maxSessionMemory: 32,
        settings: {
          maxConcurrentStreams: limits.maxStreams,
          maxHeaderListSize: limits.maxHeaderBytes,
          initialWindowSize: 1024 * 1024,
        },
      },
      patient,
    );
    // A peer that breaks the protocol costs its own session only.
    this.#http2.on('sessionError', () => {});
    this.#http2.on('session', (session) => this.#keep(session));
    this.#net = tls
      ? this.#secure(tls)
      : createServer(TCP_OPTIONS, (socket) => this.#sniff(socket, this.#overLimit(socket)));
    // Those that are over the limit are to be told so.
    this.#net.maxConnections = limits.maxConnections + TOLD;
    this.#net.prependListener('connection', (socket: Socket) => this.#count(socket));
  }

  /** Listens and resolves with the address. */
  async listen(host: string, port: number): Promise<AddressInfo> {
    await new Promise<void>((resolve, reject) => {
      this.#net.once('error', reject);
      this.#net.listen({ host, port, backlog: BACKLOG }, resolve);
    });
    // It gets its connections from here and never listens, and minds them and their time only once it does.
    this.#http1.emit('listening');
    return this.#net.address() as AddressInfo;
  }

  /** Takes no more connections, lets running requests end within the grace period, then closes what is left. */
  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#net.close(() => resolve()));
    // An answer that is under way is the last of its connection.
    this.#http1.keepAliveTimeout = 1;
    this.#http1.close();
    for (const session of this.#sessions) session.close();
    const late = setTimeout(() => {
      for (const socket of this.#sockets) socket.destroy();
    }, graceMs);
    await closed;
    clearTimeout(late);
    this.#patience.stop();
  }

  /** Certificates for connections to come; those that are open keep theirs. */
  renew(context: SecureContextOptions): void {
    (this.#net as TlsServer).setSecureContext(context);
  }

  #secure(tls: EdgeTls): TlsServer {
    const server = createTls(
      {
        ...secureContext(tls),
        ...{ ALPNProtocols: ['h2', 'http/1.1'], ...TCP_OPTIONS },
        handshakeTimeout: this.#limits.headersTimeoutMs,
        // A certificate that nobody vouches for is refused; none at all leaves other ways to say who one is.
        ...(tls.clientCaFile ? { requestCert: true, rejectUnauthorized: false } : {}),
      },
      (socket) => {
        const isForged = tls.clientCaFile !== '' && !socket.authorized && hasCertificate(socket);
        if (isForged) socket.destroy();
        else this.#sniff(socket, this.#overLimit(socket));
      },
    );
    // Who does not come through the handshake costs their own connection only.
    server.on('tlsClientError', (_error, socket) => socket.destroy());
    return server;
  }

  #count(socket: Socket): void {
    const { remoteAddress } = socket;
    // Gone before it was taken.
    if (remoteAddress === undefined) return void socket.destroy();
    const leave = this.#peers.enter(remoteAddress);
    socket.once('close', leave);
    if (this.#peers.of(remoteAddress) > this.#limits.maxConnectionsPerPeer + TOLD) socket.destroy();
  }

  /** Why this connection is one too many. */
  #overLimit({ remoteAddress = '' }: Socket): Refusal | undefined {
    const { maxConnections, maxConnectionsPerPeer } = this.#limits;
    const over = { code: 'resource_exhausted', retryAfter: 1 };
    if (this.#peers.of(remoteAddress) > maxConnectionsPerPeer) {
      const message = `this address has ${maxConnectionsPerPeer} connections open, as many as one may; close some`;
      return { ...over, status: 429, message };
    }
    if (this.#peers.total <= maxConnections) return undefined;
    const message = `${maxConnections} connections are open, as many as are taken; try again`;
    return { ...over, status: 503, message };
  }

  /** Keeps a session until it closes; one that asks for nothing, or for nothing more for long, is given up. */
  #keep(session: ServerHttp2Session): void {
    this.#sessions.add(session);
    let streams = 0;
    let idle = setTimeout(() => session.destroy(), this.#limits.headersTimeoutMs);
    session.on('stream', (stream) => {
      clearTimeout(idle);
      streams += 1;
      stream.once('close', () => {
        streams -= 1;
        if (streams > 0 || session.closed) return;
        clearTimeout(idle);
        // Clients open another when they need it.
        idle = setTimeout(() => session.close(), 4 * this.#limits.idleTimeoutMs);
      });
    });
    session.once('close', () => {
      clearTimeout(idle);
      this.#sessions.delete(session);
    });
  }

  #sniff(socket: Socket, refusal: Refusal | undefined): void {
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
      if (refusal) {
        (mayBeHttp2 ? refuseHttp2 : refuseHttp1)(socket, refusal);
        return;
      }
      socket.unshift(seen);
      (mayBeHttp2 ? this.#http2 : this.#http1).emit('connection', socket);
    };
    socket.on('readable', read);
  }

  /** What is no request of HTTP/1.1, or not in time, is told so where nothing was answered on its connection yet. */
  #answerBroken(error: NodeJS.ErrnoException, socket: Socket): void {
    const { headersTimeoutMs, maxHeaderBytes } = this.#limits;
    const answer = this.#answers.get(socket);
    const isUnderWay = answer?.headersSent && !answer.writableFinished;
    if (!socket.writable || isUnderWay) socket.destroy();
    else refuseHttp1(socket, brokenRequest(error.code, headersTimeoutMs, maxHeaderBytes));
  }
}

function brokenRequest(error: string | undefined, headersTimeoutMs: number, maxHeaderBytes: number): Refusal {
  if (error === 'HPE_HEADER_OVERFLOW') {
    const message = `the request's headers are larger than ${maxHeaderBytes} bytes`;
    return { status: 431, code: 'resource_exhausted', message };
  }
  if (error === 'ERR_HTTP_REQUEST_TIMEOUT') {
    const message = `the request's headers did not come within ${headersTimeoutMs / 1000} s`;
    return { status: 408, code: 'deadline_exceeded', message };
  }
  const message = 'this is no request of HTTP/1.1 or HTTP/2';
  return { status: 400, code: 'invalid_argument', message };
}

const hasCertificate = (socket: TLSSocket): boolean => Object.keys(socket.getPeerCertificate()).length > 0;
