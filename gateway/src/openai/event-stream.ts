import type { EdgeResponse } from '../edge/one-port.ts';
import { writer } from './http.ts';

/** Server-sent events. The status goes out with the first event: a failure before it still gets one of its own. */
export class EventStream {
  readonly #out;
  #gone = false;

  constructor(response: EdgeResponse) {
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
    if (this.#out.write(`data: ${data}\n\n`)) return;
    await new Promise<void>((resolve) => {
      const go = () => {
        this.#out.removeListener('drain', go);
        this.#out.removeListener('close', go);
        resolve();
      };
      this.#out.once('drain', go);
      this.#out.once('close', go);
    });
  }

  end(): void {
    this.#out.end();
  }
}
