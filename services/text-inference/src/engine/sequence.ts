/** One request inside the engine: what was asked, the tokens so far, and what of them lies in the block pool. */

import type { SamplingParameters, TokenLogprob } from './sampler.ts';

export interface EngineRequest {
  id: string;
  /** Prompt tokens [n], n >= 1 and below the context length. */
  prompt: number[];
  /** Adapter key as it was loaded; undefined for the base. */
  adapter?: string | undefined;
  sampling: SamplingParameters;
  /** At most this many new tokens, already within the model's context. */
  maxTokens: number;
  stop: string[];
  /** Go on over end-of-sequence tokens. */
  ignoreEos: boolean;
}

export type FinishReason = 'stop' | 'length' | 'error';

export interface TokenReport extends TokenLogprob {
  top: TokenLogprob[];
}

export class Sequence {
  readonly request: EngineRequest;
  /** Row of the adapter table that the runner gathers; 0 is the base. */
  readonly adapterSlot: number;
  readonly output: number[] = [];
  /** Blocks of the pool, in order. */
  readonly blockTable: number[] = [];
  /** Tokens whose keys and values are in the pool. */
  computed = 0;

  constructor(request: EngineRequest, adapterSlot: number) {
    this.request = request;
    this.adapterSlot = adapterSlot;
  }

  get id(): string {
    return this.request.id;
  }

  /** Prompt and output so far. */
  get length(): number {
    return this.request.prompt.length + this.output.length;
  }

  /** Tokens that the model has not seen yet: the whole prompt at first, one at each decode step. */
  pending(): number[] {
    const { prompt } = this.request;
    if (this.computed >= prompt.length) return this.output.slice(this.computed - prompt.length);
    return prompt.slice(this.computed).concat(this.output);
  }
}
