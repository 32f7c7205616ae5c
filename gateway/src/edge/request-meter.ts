import { resourceExhausted } from '@landfall/common/errors/errors.ts';
import type { Policies } from '../domain/policies.ts';
import type { Flow, Lease, Meter } from './governance.ts';
import type { Rate, RateLimiter } from './rate-limiter.ts';

/** Requests a minute and requests in flight of each key, as its tenant has set them. */
export class RequestMeter implements Meter {
  readonly #policies: Policies;
  readonly #limiter: RateLimiter;

  constructor(policies: Policies, limiter: RateLimiter) {
    this.#policies = policies;
    this.#limiter = limiter;
  }

  async open({ caller }: Flow): Promise<Lease> {
    const known = this.#policies.rate(caller.tenant);
    const rate = known instanceof Promise ? await known : known;
    const admission = this.#limiter.admit(caller.subject, rate);
    if (!admission.admitted) {
      const { retryAfterMs, limit } = admission;
      throw resourceExhausted(`the limit of ${limit} is reached; try again later`, {
        retryAfterMs,
        reason: 'RATE_LIMIT',
      });
    }
    const { remaining, release } = admission;
    return { charge: () => {}, used: () => {}, headers: headersOf(rate, remaining), close: release };
  }
}

/** A bucket of a sixth of a minute's requests is full again ten seconds after it was empty. */
function headersOf({ requestsPerMinute }: Rate, remaining: number): Record<string, string> {
  const limit = String(requestsPerMinute);
  const left = String(remaining);
  return {
    ...{ 'x-ratelimit-limit-requests': limit, 'x-ratelimit-remaining-requests': left },
    ...{ 'x-ratelimit-reset-requests': '10s', 'ratelimit-limit': limit, 'ratelimit-remaining': left },
    'ratelimit-reset': '10',
  };
}
