/** One request inside the engine: what was asked, the tokens so far, and what of them lies in the block pool. */

import type { GrammarSpec, GrammarState } from './grammar/grammar-state.ts';
import { prefixHashes } from './prefix-hashes.ts';
import type { SamplingParameters, TokenLogprob } from './sampler.ts';
import { SequenceSampler } from './sequence-sampler.ts';

/** What a model sees of an image, in the place of some tokens of a prompt. */
export interface PromptImage {
  /** Index of the first of them. */
  at: number;
  /** Of the image: equal digests mean equal tokens. */
  digest: string;
  /** [count, hidden size], in memory that threads share. */
  tokens: Float32Array;
}

export interface EngineRequest {
  id: string;
  /** Prompt tokens [n], n >= 1 and below the context length. */
  prompt: number[];
  /** Images that stand in it, in their order. */
  images?: PromptImage[] | undefined;
  /** Adapter key as it was loaded; undefined for the base. */
  adapter?: string | undefined;
  /** Keys and values of prompts are shared within a tenant only. */
  tenant: string;
  /** Places are shared fairly between clients. */
  client: string;
  /** Higher goes first; 0 is normal. */
  priority: number;
  sampling: SamplingParameters;
  /** At most this many new tokens, already within the model's context. */
  maxTokens: number;
  stop: string[];
  /** Go on over end-of-sequence tokens. */
  ignoreEos: boolean;
  /** Tokens to guess ahead by looking them up; 0 or undefined for none. */
  promptLookup?: number | undefined;
  /** The language that the output is held to. */
  grammar?: GrammarSpec | undefined;
  /** Tokens whose likelihood behind the prompt is asked for [n], n >= 1, instead of new ones. */
  completion?: number[] | undefined;
  /** Parts of the completion, as indices of its tokens, of which it is asked what they look at instead. */
  attend?: number[][] | undefined;
}

export type FinishReason = 'stop' | 'length' | 'scored' | 'attended' | 'error';

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
  /** Of each full block of the prompt, for sharing. */
  readonly hashes: readonly string[];
  /** What is there at the start: the prompt, and all but the last token of a completion. */
  readonly #given: number[];
  #computed: number;
  #found = 0;
  /** Keys and values of its own tokens, while it has lost its place. */
  saved: Float32Array | undefined;
  /** What the tokens that are asked look at, by their index among those given. */
  readonly looked = new Map<number, Float32Array>();

  constructor(
    request: EngineRequest,
    adapterSlot: number,
    prefix = 0,
    blockSize = 16,
    grammar?: GrammarState,
  ) {
    this.request = request;
    this.adapterSlot = adapterSlot;
    this.prefix = prefix;
    this.#computed = prefix;
    this.sampler = new SequenceSampler(request.sampling, request.prompt, grammar);
    const { prompt, tenant, adapter, completion, images } = request;
    this.hashes = prefixHashes({ tenant, adapter, virtual: prefix }, prompt, blockSize, images);
    this.#given = completion ? prompt.concat(completion.slice(0, -1)) : prompt;
  }

  get id(): string {
    return this.request.id;
  }

  /** Positions taken so far: virtual tokens, prompt and output. */
  get length(): number {
    return this.promptEnd + this.output.length;
  }

  /** Where its own tokens begin. */
  get promptEnd(): number {
    return this.prefix + this.#given.length;
  }

  /** Positions whose keys and values are in the pool. */
  get computed(): number {
    return this.#computed;
  }

  /** Whether all that was given is in the pool. */
  get pastPrompt(): boolean {
    return this.#computed >= this.promptEnd;
  }

  /** Prompt tokens that were found in the pool when it first got a place. */
  get found(): number {
    return this.#found;
  }

  /** It has got a place, and positions up to here were in the pool. */
  begin(computed: number): void {
    this.#computed = computed;
    if (this.output.length === 0) this.#found = computed - this.prefix;
  }

  /** More positions are in the pool now. */
  advance(tokens: number): void {
    this.#computed += tokens;
  }

  /** Its own tokens that the model has not seen: one, after the first was chosen. */
  pending(): number[] {
    return this.output.slice(this.#computed - this.promptEnd);
  }

  /**
   * The next given tokens to compute, at most so many. A completion's tokens that are scored come together with the one
   * before them.
   */
  pendingPrompt(most: number): number[] {
    const seen = this.#computed - this.prefix;
    if (!this.request.completion || this.request.attend) return this.#given.slice(seen, seen + most);
    const context = this.request.prompt.length - 1 - seen;
    return context > 0 ? this.#given.slice(seen, seen + Math.min(most, context)) : this.#given.slice(seen);
  }
}
