import type { CachePolicy } from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import type { GenerateRequest } from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { contextKey, type KeyGround, questionOf } from './cache-key.ts';
import { likeness, type Question, question } from './question.ts';
import type { IndexedAnswer, TenantCache } from './tenant-cache.ts';
import type { QuestionVectors } from './vectors.ts';

/** The nearest of the questions that were answered. */
export interface Nearest {
  readonly answered: IndexedAnswer;
  /** From the policy's threshold to 1. */
  readonly likeness: number;
}

/** One request's question, made ready once, however often it is compared. */
export class SimilarQuestion {
  readonly #cache: TenantCache;
  readonly #policy: CachePolicy;
  readonly #request: GenerateRequest;
  readonly #ground: KeyGround;
  readonly #vectors: QuestionVectors;
  #context: string | undefined;
  #question: Promise<Question | undefined> | undefined;

  constructor(
    cache: TenantCache,
    policy: CachePolicy,
    request: GenerateRequest,
    ground: KeyGround,
    vectors: QuestionVectors,
  ) {
    this.#cache = cache;
    this.#policy = policy;
    this.#request = request;
    this.#ground = ground;
    this.#vectors = vectors;
  }

  /** What all similar requests have in common. */
  get context(): string {
    this.#context ??= contextKey(this.#cache.secret, this.#ground, this.#request);
    return this.#context;
  }

  /** Undefined where the tenant wants none, or where a request has no question. */
  get question(): Promise<Question | undefined> {
    this.#question ??= this.#read();
    return this.#question;
  }

  /** @param suits whether an answer may be given at all */
  async nearest(suits: (answered: IndexedAnswer) => boolean): Promise<Nearest | undefined> {
    const { similar } = this.#policy;
    if (!similar || questionOf(this.#request) === undefined) return undefined;
    const candidates = this.#cache.ofContext(this.context, Date.now()).filter(suits);
    // What nothing can be near is not worth a vector.
    if (candidates.length === 0) return undefined;
    const mine = await this.question;
    if (!mine) return undefined;
    let best: Nearest | undefined;
    for (const answered of candidates) {
      const degree = likeness(mine, answered.question!, similar.embeddingModel !== '');
      if (degree >= similar.threshold && degree > (best?.likeness ?? 0))
        best = { answered, likeness: degree };
    }
    return best;
  }

  async #read(): Promise<Question | undefined> {
    const text = questionOf(this.#request);
    if (text === undefined || !this.#policy.similar) return undefined;
    const { embeddingModel } = this.#policy.similar;
    return question(text, await this.#vectors.of(this.#cache.tenant, embeddingModel, text));
  }
}
