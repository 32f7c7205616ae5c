import { connect, type Socket } from 'node:net';

/**
 * How a client is slow: a head a byte at a time, a body likewise, an answer that is not read, no word at all, a session
 * of HTTP/2 that asks for nothing.
 */
const KINDS = ['head', 'body', 'answer', 'silent', 'session'] as const;
const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';
const BYTE_EVERY_MS = 1000;

/** Connections that cost as much as they can for as little as they do; each that is closed on is opened anew. */
export class SlowClients implements Disposable {
  readonly #sockets = new Set<Socket>();
  readonly #timer: NodeJS.Timeout;
  #over = false;
  /** Connections that the server has given up. */
  closed = 0;

  constructor(url: string, apiKey: string, count: number) {
    const { hostname, port } = new URL(url);
    for (let i = 0; i < count; i++) this.#open(hostname, Number(port), apiKey, KINDS[i % KINDS.length]!);
    this.#timer = setInterval(() => {
      for (const socket of this.#sockets) if (socket.writable) socket.emit('turn');
    }, BYTE_EVERY_MS);
  }

  [Symbol.dispose](): void {
    this.#over = true;
    clearInterval(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(host: string, port: number, apiKey: string, kind: (typeof KINDS)[number]): void {
    const socket = connect(port, host);
    this.#sockets.add(socket);
    const head = (length: number) =>
      `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${apiKey}\r\n` +
      `content-type: application/json\r\ncontent-length: ${length}\r\n\r\n`;
    const body = JSON.stringify({
      model: 'qa',
      stream: true,
      max_tokens: 1000,
      // A token a second: what is measured is connections, not tokens.
      top_k: 1000,
      messages: [{ role: 'user', content: 'x' }],
    });
    let rest = '';
    if (kind === 'session') socket.write(PREFACE);
    if (kind === 'head') rest = head(body.length);
    if (kind === 'body') {
      socket.write(head(body.length));
      rest = body;
    }
    if (kind === 'answer') {
      socket.write(head(body.length) + body);
      socket.pause();
    } else {
      socket.resume();
    }
    socket.on('turn', () => {
      if (rest === '') return;
      socket.write(rest[0]!);
      rest = rest.slice(1);
    });
    socket.on('error', () => {});
    socket.once('close', () => {
      this.#sockets.delete(socket);
      this.closed += 1;
      if (!this.#over) setTimeout(() => this.#over || this.#open(host, port, apiKey, kind), 100).unref();
    });
  }
}
