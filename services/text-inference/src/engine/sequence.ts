/** One request inside the engine: what was asked, the tokens so far, and what of them lies in the block pool. */

import type { GrammarSpec, GrammarState } from './grammar/grammar-state.ts';
import type { SamplingParameters, TokenLogprob } from './sampler.ts';
import { SequenceSampler } from './sequence-sampler.ts';

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
  /** The language that the output is held to. */
  grammar?: GrammarSpec | undefined;
  /** Tokens whose likelihood behind the prompt is asked for [n], n >= 1, instead of new ones. */
  completion?: number[] | undefined;
}

export type FinishReason = 'stop' | 'length' | 'scored' | 'error';

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
  /** Positions that the adapter's virtual tokens take before the prompt. */
  readonly prefix: number;
  readonly sampler: SequenceSampler;
  /** What is there at the start: the prompt, and all but the last token of a completion. */
  readonly #given: number[];
  /** Positions whose keys and values are in the pool. */
  computed: number;

  constructor(request: EngineRequest, adapterSlot: number, prefix = 0, grammar?: GrammarState) {
    this.request = request;
    this.adapterSlot = adapterSlot;
    this.prefix = prefix;
    this.computed = prefix;
    this.sampler = new SequenceSampler(request.sampling, request.prompt, grammar);
    this.#given = request.completion
      ? request.prompt.concat(request.completion.slice(0, -1))
      : request.prompt;
  }

  get id(): string {
    return this.request.id;
  }

  /** Positions taken so far: virtual tokens, prompt and output. */
  get length(): number {
    return this.prefix + this.#given.length + this.output.length;
  }

  /** Begins again after its blocks were taken. */
  restart(): void {
    this.computed = this.prefix;
  }

  /** Tokens that the model has not seen yet: the whole prompt at first, one at each decode step. */
  pending(): number[] {
    const seen = this.computed - this.prefix;
    const given = this.#given;
    if (seen >= given.length) return this.output.slice(seen - given.length);
    return given.slice(seen).concat(this.output);
  }
}
