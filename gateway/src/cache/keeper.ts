import { durationMs } from '@bufbuild/protobuf/wkt';
import { LandfallError } from '@landfall/common/errors/errors.ts';
import type { Logger } from '@landfall/common/log/logger.ts';
import { holdsPersonalData } from '@landfall/masking/mask.ts';
import type { CachePolicy } from '@landfall/proto/landfall/gateway/v1/cache_pb.js';
import {
  type GenerateRequest,
  type GenerateResponse,
  GenerateResponseSchema,
} from '@landfall/proto/landfall/text/v1/text_inference_service_pb.js';
import { type ContentStage, textOf } from '../content/content-stage.ts';
import type { Flow } from '../edge/governance.ts';
import type { CacheBook } from './cache-book.ts';
import type { KeyGround } from './cache-key.ts';
import { isWhole, lasting } from './kept-answer.ts';
import type { SimilarQuestion } from './similar.ts';
import type { TenantCache } from './tenant-cache.ts';

const HOUR_MS = 3_600_000;

/** A request that may be answered from what is kept, and whose answer may be kept. */
export interface Asked {
  readonly cache: TenantCache;
  readonly policy: CachePolicy;
  readonly flow: Flow;
  readonly request: GenerateRequest;
  readonly key: string;
  readonly ground: KeyGround;
  readonly similar: SimilarQuestion;
}

/** An answer that was made. */
export interface Made {
  readonly id: string;
  readonly createdMs: number;
  readonly parts: readonly GenerateResponse[];
  /** The last change of the tenant's that was known when its making began. */
  readonly since: number;
}

/** Decides which answers are kept, and in which form. */
export class Keeper {
  readonly #book: CacheBook;
  readonly #content: ContentStage;
  readonly #logger: Logger;

  constructor(book: CacheBook, content: ContentStage, logger: Logger) {
    this.#book = book;
    this.#content = content;
    this.#logger = logger;
  }

  /** Keeps an answer that is whole, comes from the model that it was asked of, may be shown and tells of nobody. */
  async keep({ cache, policy, flow, request, key, ground, similar }: Asked, made: Made): Promise<void> {
    const { parts, since, id, createdMs } = made;
    const answered = parts.find(({ model }) => model !== '')?.model ?? ground.model;
    // Another model may have come in its place meanwhile, or it was answered elsewhere.
    if (answered !== ground.model || !isWhole(request, parts)) return;
    const shown = await this.#mayBeShown(flow, lasting(parts));
    if (!shown) return;
    if (holdsPersonalData(textOf(GenerateResponseSchema, shown))) {
      cache.counts.add('personal');
      return;
    }
    const question = await similar.question.catch((cause) => {
      this.#logger.warn(
        { err: cause },
        'a question has no vector: its answer is kept for the same one alone',
      );
      return undefined;
    });
    this.#book.keep(cache, {
      ...{ key, question, context: question ? similar.context : '' },
      ...{ asked: ground.asked, model: ground.model, since },
      ttlMs: policy.ttl ? durationMs(policy.ttl) : HOUR_MS,
      answer: { id, createdMs, parts: shown, bytes: 0 },
    });
  }

  async #mayBeShown(
    flow: Flow,
    parts: readonly GenerateResponse[],
  ): Promise<readonly GenerateResponse[] | undefined> {
    try {
      return (await this.#content.kept(flow, parts)) as readonly GenerateResponse[];
    } catch (cause) {
      if (cause instanceof LandfallError) return undefined;
      throw cause;
    }
  }
}
