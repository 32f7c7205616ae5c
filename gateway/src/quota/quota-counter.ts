import type { QuotaRow } from '../db/quota-entities.ts';

/** What was counted in one period, by this gateway and by the others as far as it has heard. */
export interface Tally {
  requests: number;
  tokens: number;
  micros: number;
}

const none = (): Tally => ({ requests: 0, tokens: 0, micros: 0 });

/** A minute and a month of the clock (UTC), as periods are named. */
export const minuteOf = (ms: number): string => new Date(ms).toISOString().slice(0, 16);
export const monthOf = (ms: number): string => new Date(ms).toISOString().slice(0, 7);

export class Period {
  name = '';
  own = none();
  others = none();

  /** Begins anew where the clock has gone on. */
  turn(name: string): void {
    if (this.name === name) return;
    this.name = name;
    this.own = none();
    this.others = none();
  }

  sum(part: keyof Tally): number {
    return this.own[part] + this.others[part];
  }
}

/** A bound that is reached. */
export interface Reached {
  limit: string;
  retryAfterMs: number;
}

/** The use of one quota. What running calls are expected to cost counts until they tell what they did. */
export class QuotaCounter {
  quota: QuotaRow;
  readonly minute = new Period();
  readonly month = new Period();
  inFlight = 0;
  othersInFlight = 0;
  /** When a call last asked for it. */
  askedMs = 0;
  /** Whether there is something that the database has not. */
  dirty = false;
  #expected = 0;

  constructor(quota: QuotaRow) {
    this.quota = quota;
  }

  turn(now: number): void {
    this.minute.turn(minuteOf(now));
    this.month.turn(monthOf(now));
  }

  /** The bound that one more request would pass, if any. */
  reached(now: number): Reached | undefined {
    this.askedMs = now;
    const { requestsPerMinute, concurrentRequests } = this.quota;
    const nextMinuteMs = 60_000 - (now % 60_000);
    if (concurrentRequests > 0 && this.inFlight + this.othersInFlight >= concurrentRequests)
      return { limit: `${concurrentRequests} requests in flight`, retryAfterMs: 1000 };
    if (requestsPerMinute > 0 && this.minute.sum('requests') >= requestsPerMinute)
      return { limit: `${requestsPerMinute} requests a minute`, retryAfterMs: nextMinuteMs };
    return this.#spent(0, now);
  }

  /** The bound of tokens or money that so many more tokens would pass, if any. */
  wouldPass(tokens: number, now: number): Reached | undefined {
    return this.#spent(tokens, now);
  }

  #spent(tokens: number, now: number): Reached | undefined {
    const { tokensPerMinute, tokensPerMonth, microsPerMonth } = this.quota;
    const more = this.#expected + tokens;
    const passes = (used: number, bound: number) => bound > 0 && (used >= bound || used + more > bound);
    if (passes(this.minute.sum('tokens'), tokensPerMinute))
      return { limit: `${tokensPerMinute} tokens a minute`, retryAfterMs: 60_000 - (now % 60_000) };
    const nextMonthMs = nextMonth(now) - now;
    if (passes(this.month.sum('tokens'), tokensPerMonth))
      return { limit: `${tokensPerMonth} tokens a month`, retryAfterMs: nextMonthMs };
    if (microsPerMonth > 0 && this.month.sum('micros') >= microsPerMonth)
      return { limit: `${microsPerMonth / 1e6} of money a month`, retryAfterMs: nextMonthMs };
    return undefined;
  }

  take(): void {
    this.inFlight += 1;
    this.minute.own.requests += 1;
    this.month.own.requests += 1;
    this.dirty = true;
  }

  expect(tokens: number): void {
    this.#expected += tokens;
  }

  settle(expected: number, tokens: number, micros: number): void {
    this.#expected -= expected;
    this.inFlight -= 1;
    for (const { own } of [this.minute, this.month]) {
      own.tokens += tokens;
      own.micros += micros;
    }
    this.dirty = true;
  }
}

function nextMonth(now: number): number {
  const date = new Date(now);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
}
