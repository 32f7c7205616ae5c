import { setTimeout as delay } from 'node:timers/promises';

/** Whether the gateway is to be sent calls, and which of what is behind it answers. */
export interface ReadyState {
  ready: boolean;
  services: Readonly<Record<string, boolean>>;
}

/** How long an answer holds: a probe costs a call of each service, and anybody may send one. */
const FRESH_MS = 500;
/** A probe is answered within so long, whatever is behind it. */
const LONGEST_MS = 2000;

/** Ready means that what is behind the door answers; a gateway that is on its way out says so at once. */
export class Readiness {
  readonly #checks: Readonly<Record<string, () => Promise<boolean>>>;
  #looked: Promise<ReadyState> | undefined;
  #lookedMs = 0;
  #stopping = false;

  /** @param checks by name; one that throws is as good as one that says no */
  constructor(checks: Readonly<Record<string, () => Promise<boolean>>>) {
    this.#checks = checks;
  }

  stop(): void {
    this.#stopping = true;
  }

  async look(): Promise<ReadyState> {
    if (this.#stopping) return { ready: false, services: {} };
    const now = performance.now();
    if (!this.#looked || now - this.#lookedMs > FRESH_MS) {
      this.#lookedMs = now;
      this.#looked = this.#all();
    }
    return this.#looked;
  }

  async #all(): Promise<ReadyState> {
    const entries = Object.entries(this.#checks).map(async ([name, check]) => {
      const late = delay(LONGEST_MS, false, { ref: false });
      return [name, await Promise.race([check().catch(() => false), late])] as const;
    });
    const services = Object.fromEntries(await Promise.all(entries));
    return { ready: Object.values(services).every(Boolean), services };
  }
}
