import * as grpc from '@grpc/grpc-js';
import { service } from 'grpc-health-check';

interface Watch {
  name: string;
  call: grpc.ServerWritableStream<{ service: string }, { status: string }>;
}

/**
 * grpc.health.v1: '' says that the process lives, 'readiness' that it takes calls. Unlike grpc-health-check's own
 * implementation it can end its watches, which would hold a drain.
 */
export class Health {
  readonly #serving = new Map([
    ['', true],
    ['readiness', false],
  ]);
  readonly #watches = new Set<Watch>();

  set(name: 'readiness', serving: boolean): void {
    if (this.#serving.get(name) === serving) return;
    this.#serving.set(name, serving);
    for (const watch of this.#watches) if (watch.name === name) watch.call.write(this.#status(name));
  }

  addTo(server: grpc.Server): void {
    server.addService(service, {
      check: (
        call: grpc.ServerUnaryCall<{ service: string }, unknown>,
        done: grpc.sendUnaryData<unknown>,
      ) => {
        const name = call.request.service;
        if (this.#serving.has(name)) done(null, this.#status(name));
        else done({ code: grpc.status.NOT_FOUND, details: "ask for '' (liveness) or 'readiness'" });
      },
      watch: (call: Watch['call']) => {
        const watch = { name: call.request.service, call };
        this.#watches.add(watch);
        call.once('cancelled', () => this.#watches.delete(watch));
        call.write(this.#status(watch.name));
      },
      list: (_call: unknown, done: grpc.sendUnaryData<unknown>) => {
        const statuses = Object.fromEntries(
          [...this.#serving.keys()].map((name) => [name, this.#status(name)]),
        );
        done(null, { statuses });
      },
    });
  }

  /** Ends all watches. */
  end(): void {
    for (const { call } of this.#watches) call.end();
    this.#watches.clear();
  }

  #status(name: string): { status: string } {
    const serving = this.#serving.get(name);
    if (serving === undefined) return { status: 'SERVICE_UNKNOWN' };
    return { status: serving ? 'SERVING' : 'NOT_SERVING' };
  }
}
