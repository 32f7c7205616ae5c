import type { Message } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import type { BalancedClient } from '@landfall/common/balancing/balanced-client.ts';
import { targetOf } from '@landfall/common/balancing/target.ts';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import { requireResources } from '@landfall/common/identity/check.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import type { CachePolicy } from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import {
  type GenerateRequest,
  type GenerateResponse,
  TextInferenceService,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import type { Answers, Flow, Making } from '../edge/governance.ts';
import { isModelName } from '../openai/body.ts';
import type { CacheBook } from './cache-book.ts';
import { answerKey } from './cache-key.ts';
import { type CacheWish, cacheWish } from './directives.ts';
import { Flight } from './flight.ts';
import type { Asked, Keeper } from './keeper.ts';
import { type KeptAnswer, sizeOf, tokensOf } from './kept-answer.ts';
import { SimilarQuestion } from './similar.ts';
import type { IndexedAnswer, TenantCache } from './tenant-cache.ts';
import type { QuestionVectors } from './vectors.ts';

const { generate } = TextInferenceService.method;
/** Largest answer that is kept, as it lies in memory. */
const MOST_BYTES = 1024 * 1024;
/** What a shared answer may fail with for the one who began it, and not for those who wait for it as well. */
const OF_THE_CALLER: ReadonlySet<status> = new Set([
  ...[status.PERMISSION_DENIED, status.NOT_FOUND, status.UNAUTHENTICATED],
  ...[status.CANCELLED, status.DEADLINE_EXCEEDED],
]);

export interface AnswerCacheOptions {
  book: CacheBook;
  keeper: Keeper;
  replicas: BalancedClient;
  vectors: QuestionVectors;
  logger: Logger;
}

/** What was found. */
interface Found {
  readonly answer: KeptAnswer;
  /** Of the questions; undefined for the very same request. */
  readonly likeness?: number;
}

type Parts = AsyncGenerator<GenerateResponse>;
type MakingParts = Making<GenerateResponse>;

/**
 * Answers to generations that were given before, to the same request and, where the tenant wants it, to a similar one;
 * never beyond a tenant. Rights, quotas and content of the request were decided before it is asked, and content of the
 * answer is decided behind it, so that whoever is given an answer could have had it made.
 */
export class AnswerCache implements Answers {
  readonly #options: AnswerCacheOptions;

  constructor(options: AnswerCacheOptions) {
    this.#options = options;
  }

  stream<M extends Message>(flow: Flow, request: Message, making: Making<M>): AsyncIterable<M> | undefined {
    if (flow.call.method !== generate) return undefined;
    const cache = this.#options.book.of(flow.caller.tenant);
    if (!(cache instanceof Promise) && !cache.policy) return undefined;
    return this.#answer(cache, flow, request as GenerateRequest, making as never) as never;
  }

  async *#answer(
    known: TenantCache | Promise<TenantCache>,
    flow: Flow,
    request: GenerateRequest,
    making: MakingParts,
  ): Parts {
    const cache = known instanceof Promise ? await known.catch((cause) => this.#passBy(cause)) : known;
    if (!cache?.policy) return yield* plain(making);
    const wish = cacheWish(flow.call);
    const asked = takesPart(cache.policy, flow, request, wish)
      ? await this.#asked(cache, cache.policy, flow, request)
      : undefined;
    if (!asked || wish.unkept) {
      tell(cache, flow, 'bypass');
      return yield* plain(making);
    }
    const found = wish.fresh ? undefined : await this.#find(asked, wish);
    if (!found) return yield* this.#make(asked, making, wish.fresh);
    give(cache, flow, found);
    yield* found.answer.parts;
  }

  /** Undefined where it can't be told who answers, or where the caller may not be answered by them. */
  async #asked(
    cache: TenantCache,
    policy: CachePolicy,
    flow: Flow,
    request: GenerateRequest,
  ): Promise<Asked | undefined> {
    const { caller, call, contentRule } = flow;
    const { replicas, vectors } = this.#options;
    try {
      const options = { identity: caller, signal: call.signal };
      const known = replicas.serving(targetOf(request.model), request, options);
      const model = known instanceof Promise ? await known : known;
      // As the replica would decide. What it refuses it is left to refuse.
      requireResources(caller, generate, { ...request, model } as GenerateRequest);
      const ground = { asked: request.model, model, contentRule };
      const similar = new SimilarQuestion(cache, policy, request, ground, vectors);
      const key = answerKey(cache.secret, ground, request);
      return { cache, policy, flow, request, key, ground, similar };
    } catch (cause) {
      if (cause instanceof LandfallError) return undefined;
      throw cause;
    }
  }

  async #find(
    { cache, policy, key, similar }: Asked,
    { maxAgeSeconds }: CacheWish,
  ): Promise<Found | undefined> {
    const now = Date.now();
    const isYoung = ({ createdMs }: IndexedAnswer) => now - createdMs <= maxAgeSeconds * 1000;
    const same = cache.get(key, now);
    try {
      if (same && isYoung(same)) {
        const answer = await this.#read(cache, same);
        if (answer) return { answer };
      }
      if (!policy.similar || cache.flights.has(key)) return undefined;
      const nearest = await similar.nearest(isYoung);
      const answer = nearest && (await this.#read(cache, nearest.answered));
      return answer && { answer, likeness: nearest.likeness };
    } catch (cause) {
      this.#passBy(cause);
      return undefined;
    }
  }

  async #read(cache: TenantCache, indexed: IndexedAnswer): Promise<KeptAnswer | undefined> {
    const answer = await this.#options.book.read(cache, indexed);
    if (answer) cache.touch(indexed.key, Date.now());
    return answer;
  }

  /** An answer that is made for this call, and for all that ask for the same meanwhile. */
  async *#make(asked: Asked, making: MakingParts, fresh: boolean): Parts {
    const { cache, flow, key } = asked;
    const { signal } = flow.call;
    const others = fresh ? undefined : cache.flights.get(key);
    const joined = others?.isOpen ? others : undefined;
    const flight = joined ?? this.#begin(asked, making);
    flow.answer = flight.answer;
    if (joined) cache.counts.add(joined.isComplete ? 'hits' : 'joined');
    if (joined?.isComplete) setHeaders(flow, 'hit', { age: ageOf(joined.answer) });
    else tell(cache, flow, fresh ? 'bypass' : 'miss');
    let begun = false;
    try {
      for await (const part of flight.follow(signal, making.used)) {
        begun = true;
        yield part;
      }
      return;
    } catch (cause) {
      const isTheirs = cause instanceof LandfallError && OF_THE_CALLER.has(cause.code);
      if (!joined || begun || !isTheirs || signal.aborted) throw cause;
    }
    flow.answer = undefined;
    yield* plain(making);
  }

  #begin(asked: Asked, making: MakingParts): Flight<GenerateResponse> {
    const { cache, key } = asked;
    const since = cache.revision;
    const over = () => {
      if (cache.flights.get(key) === flight) cache.flights.delete(key);
    };
    const flight: Flight<GenerateResponse> = new Flight({
      start: (signal) => making.start(signal),
      sizeOf,
      mostBytes: MOST_BYTES,
      ended: (parts) => {
        if (!parts) return over();
        // Whoever waits for the end is answered first; whoever comes until it is kept is answered by the flight.
        setImmediate(() => {
          void this.#options.keeper
            .keep(asked, { ...flight.answer, parts, since })
            .catch((cause) => this.#options.logger.warn({ err: cause }, 'an answer could not be kept'))
            .finally(over);
        });
      },
    });
    if (!cache.flights.has(key)) cache.flights.set(key, flight);
    return flight;
  }

  /** A cache that fails takes nothing from the caller but its help. */
  #passBy(cause: unknown): undefined {
    this.#options.logger.warn({ err: cause }, 'the cache of answers is passed by');
    return undefined;
  }
}

/** Whether a request may be given an answer of another one at all. */
function takesPart(policy: CachePolicy, flow: Flow, request: GenerateRequest, wish: CacheWish): boolean {
  const { caller, reviewed } = flow;
  // What a person has let pass was let pass for its caller.
  if (reviewed || !isModelName(request.model)) return false;
  const { bypassSubjects, bypassModels, sampled } = policy;
  const isOut = bypassSubjects.includes(caller.subject) || bypassSubjects.includes(`key:${caller.keyId}`);
  if (isOut || bypassModels.includes(request.model)) return false;
  const { temperature = 0, seed } = request.sampling ?? {};
  return temperature === 0 || seed !== undefined || sampled || wish.use;
}

async function* plain(making: MakingParts): Parts {
  for await (const part of making.start()) {
    making.used(part);
    yield part;
  }
}

function tell(cache: TenantCache, flow: Flow, outcome: 'miss' | 'bypass'): void {
  cache.counts.add(outcome === 'miss' ? 'misses' : 'bypasses');
  setHeaders(flow, outcome, {});
}

/** Tells that a call is given an answer that is kept. */
function give(cache: TenantCache, flow: Flow, { answer, likeness }: Found): void {
  const isSame = likeness === undefined;
  cache.counts.add(isSame ? 'hits' : 'similarHits');
  cache.counts.add('savedTokens', tokensOf(answer.parts));
  flow.answer = answer;
  const degree: Record<string, string> = isSame ? {} : { 'x-landfall-cache-similarity': likeness.toFixed(4) };
  setHeaders(flow, isSame ? 'hit' : 'similar', { age: ageOf(answer), ...degree });
}

function setHeaders(flow: Flow, outcome: Exclude<Flow['cache'], ''>, more: Record<string, string>): void {
  flow.cache = outcome;
  flow.tell({ 'x-landfall-cache': outcome, ...more });
}

const ageOf = ({ createdMs }: Pick<KeptAnswer, 'createdMs'>) =>
  String(Math.max(0, Math.floor((Date.now() - createdMs) / 1000)));
