import type { MessageInitShape } from '@bufbuild/protobuf';
import type { LoadSchema } from '@landfall/proto/landfall/text/v1/generation_pb.js';
import type { LoadNumbers } from '../load-news.ts';

/** Weight of the newest token in the mean time between two. */
const WEIGHT = 0.05;

/** What a backend carries now, as far as it can be seen from outside: requests and tokens, but no blocks. */
export class BackendLoad {
  /** `models:/name/version` of the adapters in use. */
  readonly adapters = new Set<string>();
  readonly #base: string;
  readonly #maxBatch: number;
  readonly #listeners = new Set<() => void>();
  #running = 0;
  #finished = 0;
  #outputTokens = 0;
  #stepMs = 0;

  constructor(base: string, maxBatch: number) {
    this.#base = base;
    this.#maxBatch = maxBatch;
  }

  /** A request begins; the returned function ends it. */
  begin(): () => void {
    this.#running++;
    this.changed();
    return () => {
      this.#running--;
      this.#finished++;
      this.changed();
    };
  }

  /** A request has got so many tokens, this long after its tokens before. */
  tokens(count: number, ms: number): void {
    this.#outputTokens += count;
    this.#stepMs += (ms / count - this.#stepMs) * (this.#stepMs === 0 ? 1 : WEIGHT);
  }

  changed(): void {
    for (const listener of this.#listeners) listener();
  }

  /** Calls back at each change until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What changes while callers read. */
  get numbers(): LoadNumbers {
    const running = Math.min(this.#running, this.#maxBatch);
    return { running, queued: this.#running - running, queuedTokens: 0, stepMs: this.#stepMs };
  }

  message(): MessageInitShape<typeof LoadSchema> {
    const { running, queued, stepMs } = this.numbers;
    return {
      running,
      queued,
      stepMs,
      adapters: [...this.adapters],
      base: this.#base,
      finished: BigInt(this.#finished),
      outputTokens: BigInt(this.#outputTokens),
      maxBatch: this.#maxBatch,
    };
  }
}
