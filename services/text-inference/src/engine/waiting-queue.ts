import type { Sequence } from './sequence.ts';

/** A new token costs about what this many prompt tokens do. */
const OUTPUT_WEIGHT = 2;

/**
 * Who waits for a place, in the order in which they get one: higher priorities first; of the same priority the client
 * that has been served least (Sheng et al. 2024, virtual token counter); of a client the one that came first. A client
 * that comes back after a pause begins where the least served of the others is: a pause saves nothing up.
 */
export class WaitingQueue {
  #waiting: Sequence[] = [];
  /** Tokens that each client was served, by client. */
  readonly #served = new Map<string, number>();
  /** Sequences inside, waiting or running, by client. */
  readonly #inside = new Map<string, number>();

  get all(): readonly Sequence[] {
    return this.#waiting;
  }

  /** A sequence comes in. */
  enter(sequence: Sequence): void {
    const { client } = sequence.request;
    const inside = this.#inside.get(client) ?? 0;
    if (inside === 0) {
      const others = [...this.#inside.keys()].map((other) => this.#served.get(other)!);
      const least = others.length > 0 ? Math.min(...others) : 0;
      this.#served.set(client, Math.max(this.#served.get(client) ?? 0, least));
    }
    this.#inside.set(client, inside + 1);
    this.#waiting.push(sequence);
  }

  /** A sequence that had a place waits for another, before its client's others. */
  return(sequence: Sequence): void {
    this.#waiting.unshift(sequence);
  }

  /** A sequence leaves for good. */
  leave(sequence: Sequence): void {
    this.take(sequence);
    const { client } = sequence.request;
    const inside = this.#inside.get(client)! - 1;
    if (inside > 0) this.#inside.set(client, inside);
    else this.#inside.delete(client);
    // With nobody inside there is nobody to be fair to, and nothing to remember.
    if (this.#inside.size === 0) this.#served.clear();
  }

  /** Takes a sequence out: it has a place. */
  take(sequence: Sequence): void {
    this.#waiting = this.#waiting.filter((other) => other !== sequence);
  }

  /** Counts what a client was served in a step. */
  serve({ request }: Sequence, promptTokens: number, outputTokens: number): void {
    const tokens = promptTokens + OUTPUT_WEIGHT * outputTokens;
    this.#served.set(request.client, (this.#served.get(request.client) ?? 0) + tokens);
  }

  /** The next one to get a place, other than those given. */
  next(except: ReadonlySet<Sequence>): Sequence | undefined {
    let best: Sequence | undefined;
    for (const sequence of this.#waiting)
      if (!except.has(sequence) && (!best || this.#before(sequence, best))) best = sequence;
    return best;
  }

  #before(a: Sequence, b: Sequence): boolean {
    if (a.request.priority !== b.request.priority) return a.request.priority > b.request.priority;
    return this.#served.get(a.request.client)! < this.#served.get(b.request.client)!;
  }
}
