/**
 * Chooses the tokens of one sequence: penalties and bias on the model's logits, then the grammar's mask, then
 * temperature and filters (sampler).
 */

import type { GrammarState } from './grammar/grammar-state.ts';
import { type Sampled, type SamplingParameters, sample, withLogprobs } from './sampler.ts';
import { argmax } from './sampler-order.ts';
import { Penalties } from './sampler-penalties.ts';

/** A private copy of a row [vocabulary]; sequences of a step are sampled one after the other and share it. */
let scratch = new Float32Array(0);

export class SequenceSampler {
  readonly #parameters: SamplingParameters;
  #penalties: Penalties | undefined;
  #grammar: GrammarState | undefined;

  /**
   * @param prompt the sequence's given tokens, which the repetition penalty counts.
   * @param grammar the start of the language that the output is held to.
   */
  constructor(parameters: SamplingParameters, prompt: readonly number[], grammar?: GrammarState) {
    this.#parameters = parameters;
    this.#penalties = Penalties.of(parameters, prompt);
    this.#grammar = grammar;
  }

  /** Whether the next token is the likeliest one, whatever the other logits are, and nothing is told of them. */
  get takesLikeliest(): boolean {
    const { temperature, topLogprobs } = this.#parameters;
    return temperature === 0 && topLogprobs === undefined && !this.#penalties && !this.#grammar;
  }

  /**
   * The next token, as it stands; nothing changes until `accept`.
   * @param logits [vocabulary] of the sequence's last position; not changed.
   * @param position index of the token in its sequence: the random number's counter.
   * @throws LogitsNotFiniteError, GrammarError
   */
  next(logits: Float32Array, position: number): Sampled {
    const grammar = this.#grammar;
    if (!this.#penalties && !grammar) return sample(logits, this.#parameters, position);
    let row = logits;
    if (this.#penalties) {
      row = copyOf(logits);
      this.#penalties.apply(row);
    }
    if (grammar) {
      const { temperature, topLogprobs } = this.#parameters;
      // As a rule the likeliest token is allowed, and no mask is needed to know that.
      const best = temperature === 0 ? argmax(row) : -1;
      if (best >= 0 && grammar.allows(best)) return withLogprobs(best, topLogprobs, logits);
      if (row === logits) row = copyOf(logits);
      forbid(row, grammar.mask());
    }
    return sample(row, this.#parameters, position, logits);
  }

  /** The sequence goes on with this token. */
  accept(token: number): void {
    this.#penalties?.accept(token);
    this.#grammar = this.#grammar?.after(token);
  }

  /** One that goes its own way from here, for tokens that are only guessed. */
  clone(): SequenceSampler {
    const copy = new SequenceSampler(this.#parameters, [], this.#grammar);
    copy.#penalties = this.#penalties?.clone();
    return copy;
  }
}

function copyOf(logits: Float32Array): Float32Array {
  if (scratch.length !== logits.length) scratch = new Float32Array(logits.length);
  scratch.set(logits);
  return scratch;
}

/** Minus infinity where the mask has no bit, a word of 32 tokens at a time. */
function forbid(logits: Float32Array, mask: Int32Array): void {
  for (let word = 0; word < mask.length; word++) {
    const bits = mask[word]!;
    if (bits === -1) continue;
    const start = word * 32;
    const end = Math.min(start + 32, logits.length);
    if (bits === 0) {
      logits.fill(Number.NEGATIVE_INFINITY, start, end);
      continue;
    }
    for (let token = start; token < end; token++) {
      if (((bits >>> (token - start)) & 1) === 0) logits[token] = Number.NEGATIVE_INFINITY;
    }
  }
  // Rows of the model that stand for no token of the tokenizer.
  logits.fill(Number.NEGATIVE_INFINITY, Math.min(mask.length * 32, logits.length));
}
