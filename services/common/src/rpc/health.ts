import type * as grpc from '@grpc/grpc-js';
import { HealthImplementation } from 'grpc-health-check';

/** grpc.health.v1: '' says that the process lives, 'readiness' that it takes calls. */
export class Health {
  readonly #health = new HealthImplementation({ '': 'SERVING', readiness: 'NOT_SERVING' });

  set(name: 'readiness', serving: boolean): void {
    this.#health.setStatus(name, serving ? 'SERVING' : 'NOT_SERVING');
  }

  addTo(server: grpc.Server): void {
    this.#health.addToServer(server);
  }

  /** Says NOT_SERVING for all. */
  end(): void {
    this.#health.setStatus('', 'NOT_SERVING');
  }
}
