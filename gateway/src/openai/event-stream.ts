import type { EdgeResponse } from '../edge/one-port.ts';
import { writePart, writer } from './http.ts';

/** Characters of events that wait for one another. */
const MOST_PENDING = 16 * 1024;

/** Server-sent events. The status goes out with the first event: a failure before it still gets one of its own. */
export class EventStream {
  readonly #response: EdgeResponse;
  readonly #out;
  #gone = false;
  /** Events that go out together once what has come in is worked off: a burst of tokens is one write, not hundreds. */
  #pending = '';
  #flush: NodeJS.Immediate | undefined;
  /** What the next event waits for: a client that reads more slowly than the model writes. */
  #room: Promise<void> | undefined;

  constructor(response: EdgeResponse) {
    this.#response = response;
    this.#out = writer(response);
    this.#out.once('close', () => {
      this.#gone = true;
    });
  }

  get begun(): boolean {
    return this.#out.headersSent;
  }

  /** Sends one event and waits while the client reads more slowly than the model writes. */
  async send(body: unknown): Promise<void> {
    if (this.#gone) return;
    if (!this.begun) {
      this.#out.writeHead(200, {
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-cache',
        'x-content-type-options': 'nosniff',
      });
    }
    const data = typeof body === 'string' ? body : JSON.stringify(body);
    this.#pending += `data: ${data}\n\n`;
    if (this.#pending.length >= MOST_PENDING) this.#write();
    else this.#flush ??= setImmediate(() => this.#write());
    if (this.#room) await this.#room;
  }

  end(): void {
    this.#write();
    this.#out.end();
  }

  #write(): void {
    clearImmediate(this.#flush);
    this.#flush = undefined;
    const events = this.#pending;
    this.#pending = '';
    if (events === '' || this.#gone) return;
    const written = writePart(this.#response, events);
    this.#room ??= written.finally(() => {
      this.#room = undefined;
    });
  }
}
