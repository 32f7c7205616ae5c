import type { Message } from '@bufbuild/protobuf';
import { resourceExhausted } from '@landfall/common/errors/errors.ts';
import type { PriceRow } from '../db/quota-entities.ts';
import type { Flow, Lease, Meter } from '../edge/governance.ts';
import type { QuotaBook, TenantBook } from './quota-book.ts';
import type { QuotaCounter, Reached } from './quota-counter.ts';

/** Characters that make a token, where nothing has counted them yet: few, so that too little is promised. */
const CHARACTERS_A_TOKEN = 3;

/** What a request says of itself, whichever it is. */
type Asking = Message & {
  model?: string;
  deployment?: string;
  prompt?: unknown;
  messages?: readonly { content?: unknown }[];
  sampling?: { maxTokens?: number };
};
interface TokenUsage {
  inputTokens: number;
  outputTokens: number;
  cachedTokens: number;
}

/** Quotas of a tenant, of callers and of models, on top of what each key may do a minute. */
export class QuotaMeter implements Meter {
  readonly #book: QuotaBook;
  readonly #keys: Meter;

  /** @param keys the limits that each key has for itself */
  constructor(book: QuotaBook, keys: Meter) {
    this.#book = book;
    this.#keys = keys;
  }

  async open(flow: Flow): Promise<Lease> {
    const found = this.#book.of(flow.caller.tenant);
    const book = found instanceof Promise ? await found : found;
    const lease = await this.#keys.open(flow);
    try {
      return new QuotaLease(this.#book, book, flow.caller.subject, lease);
    } catch (cause) {
      lease.close();
      throw cause;
    }
  }
}

class QuotaLease implements Lease {
  readonly #clock: QuotaBook;
  readonly #book: TenantBook;
  readonly #subject: string;
  readonly #key: Lease;
  readonly #taken: QuotaCounter[] = [];
  #expected = 0;
  #charged = false;
  #closed = false;
  #usage: TokenUsage | undefined;
  #price: PriceRow | undefined;

  constructor(clock: QuotaBook, book: TenantBook, subject: string, key: Lease) {
    this.#clock = clock;
    this.#book = book;
    this.#subject = subject;
    this.#key = key;
    this.#take('');
  }

  get headers(): Readonly<Record<string, string>> {
    return { ...this.#key.headers, ...headersOf(this.#taken, this.#clock.now) };
  }

  charge(message: Message): void {
    // A stream of requests is one request.
    if (this.#charged) return;
    this.#charged = true;
    const asking = message as Asking;
    const model = asking.model || asking.deployment || '';
    if (model) {
      this.#take(model);
      this.#price = this.#book.prices.get(model);
    }
    const expected = expectedTokens(asking);
    const now = this.#clock.now;
    for (const counter of this.#taken) {
      const reached = counter.wouldPass(expected, now);
      if (reached) throw refusal(counter, reached);
    }
    this.#expected = expected;
    for (const counter of this.#taken) counter.expect(expected);
  }

  used(reply: Message): void {
    const { usage } = reply as Message & { usage?: Partial<TokenUsage> };
    if (typeof usage?.inputTokens !== 'number' || typeof usage.outputTokens !== 'number') return;
    const { inputTokens, outputTokens, cachedTokens = 0 } = usage;
    this.#usage = { inputTokens, outputTokens, cachedTokens };
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#key.close();
    const tokens = this.#usage ? this.#usage.inputTokens + this.#usage.outputTokens : 0;
    const micros = costOf(this.#usage, this.#price);
    const now = this.#clock.now;
    for (const counter of this.#taken) {
      // What a call costs counts when it ends, in the minute and month of then.
      counter.turn(now);
      counter.settle(this.#expected, tokens, micros);
    }
  }

  /** Takes a place in every quota for this model (empty: for all), or in none. */
  #take(model: string): void {
    const now = this.#clock.now;
    const mine = this.#book.counters.filter(
      ({ quota }) => quota.model === model && (quota.subject === '' || quota.subject === this.#subject),
    );
    for (const counter of mine) {
      counter.turn(now);
      const reached = counter.reached(now);
      if (reached) throw refusal(counter, reached);
    }
    for (const counter of mine) counter.take();
    this.#taken.push(...mine);
  }
}

function refusal({ quota }: QuotaCounter, { limit, retryAfterMs }: Reached) {
  const whose = [quota.subject && 'caller', quota.model && `model ${quota.model}`].filter(Boolean);
  const of = whose.length > 0 ? whose.join(' and ') : 'tenant';
  return resourceExhausted(`the quota of this ${of}, ${limit}, is used up`, {
    retryAfterMs,
    reason: 'QUOTA',
  });
}

/** Of the prompt by its characters, and of the answer what was asked for at most. */
function expectedTokens({ messages, prompt, sampling }: Asking): number {
  let characters = typeof prompt === 'string' ? prompt.length : 0;
  for (const { content } of messages ?? []) if (typeof content === 'string') characters += content.length;
  return Math.ceil(characters / CHARACTERS_A_TOKEN) + (sampling?.maxTokens ?? 0);
}

function costOf(usage: TokenUsage | undefined, price: PriceRow | undefined): number {
  if (!usage || !price) return 0;
  const fresh = usage.inputTokens - usage.cachedTokens;
  const micros =
    fresh * price.inputMicros +
    usage.cachedTokens * price.cachedInputMicros +
    usage.outputTokens * price.outputMicros;
  return Math.round(micros / 1e6);
}

/**
 * What is left of the tightest quotas of requests and tokens a minute, as OpenAI's clients read it and as the IETF's
 * draft of RateLimit fields has it.
 */
function headersOf(counters: readonly QuotaCounter[], now: number): Record<string, string> {
  const resetSeconds = Math.ceil((60_000 - (now % 60_000)) / 1000);
  const headers: Record<string, string> = {};
  const tell = (what: 'requests' | 'tokens', limitOf: (counter: QuotaCounter) => number) => {
    let tightest: { limit: number; left: number } | undefined;
    for (const counter of counters) {
      const limit = limitOf(counter);
      if (limit === 0) continue;
      const left = Math.max(0, limit - counter.minute.sum(what));
      if (!tightest || left < tightest.left) tightest = { limit, left };
    }
    if (!tightest) return;
    headers[`x-ratelimit-limit-${what}`] = String(tightest.limit);
    headers[`x-ratelimit-remaining-${what}`] = String(tightest.left);
    headers[`x-ratelimit-reset-${what}`] = `${resetSeconds}s`;
    if (what === 'tokens') return;
    headers['ratelimit-limit'] = String(tightest.limit);
    headers['ratelimit-remaining'] = String(tightest.left);
    headers['ratelimit-reset'] = String(resetSeconds);
  };
  tell('requests', ({ quota }) => quota.requestsPerMinute);
  tell('tokens', ({ quota }) => quota.tokensPerMinute);
  return headers;
}
