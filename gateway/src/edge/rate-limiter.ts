/** A caller's bucket: `tokens` requests may still be made now. */
interface Bucket {
  tokens: number;
  updatedMs: number;
  inFlight: number;
}

export interface Rate {
  requestsPerMinute: number;
  concurrentRequests: number;
}

/** Whether a request may go on, and if not, when to come again. */
export type Admission =
  | { admitted: true; remaining: number; release: () => void }
  | { admitted: false; retryAfterMs: number; limit: string };

/**
 * A token bucket a key: bursts of up to a sixth of a minute's requests (at least one), refilled evenly; and a bound on requests in
 * flight. Buckets that are full and idle are forgotten, so memory follows the callers of the last minute.
 */
export class RateLimiter {
  readonly #buckets = new Map<string, Bucket>();
  readonly #now: () => number;
  #sweptMs = 0;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  admit(key: string, rate: Rate): Admission {
    const now = this.#now();
    this.#sweep(now);
    const burst = Math.max(1, rate.requestsPerMinute / 6);
    const perMs = rate.requestsPerMinute / 60_000;
    const bucket = this.#buckets.get(key) ?? { tokens: burst, updatedMs: now, inFlight: 0 };
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.updatedMs) * perMs);
    bucket.updatedMs = now;
    this.#buckets.set(key, bucket);
    if (bucket.inFlight >= rate.concurrentRequests) {
      return { admitted: false, retryAfterMs: 1000, limit: `${rate.concurrentRequests} requests in flight` };
    }
    if (bucket.tokens < 1) {
      const retryAfterMs = Math.ceil((1 - bucket.tokens) / perMs);
      return { admitted: false, retryAfterMs, limit: `${rate.requestsPerMinute} requests a minute` };
    }
    bucket.tokens -= 1;
    bucket.inFlight += 1;
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      bucket.inFlight -= 1;
    };
    return { admitted: true, remaining: Math.floor(bucket.tokens), release };
  }

  #sweep(now: number): void {
    if (now - this.#sweptMs < 60_000) return;
    this.#sweptMs = now;
    for (const [key, bucket] of this.#buckets) {
      if (bucket.inFlight === 0 && now - bucket.updatedMs > 60_000) this.#buckets.delete(key);
    }
  }
}
