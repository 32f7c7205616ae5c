/**
 * What a sequence's own tokens and its caller's wishes change in a row of logits. Order and meaning are those of
 * vLLM: the bias, then the repetition penalty (Keskar et al. 2019), then frequency and presence.
 */

export interface PenaltyParameters {
  /** Added to logits, [token, value]. */
  logitBias?: readonly (readonly [number, number])[] | undefined;
  /** Divides positive and multiplies negative logits of tokens in prompt or output; 1 changes nothing. */
  repetitionPenalty?: number | undefined;
  /** Taken from a token's logit for each time that it is in the output. */
  frequencyPenalty?: number | undefined;
  /** Taken from a token's logit when it is in the output. */
  presencePenalty?: number | undefined;
}

/** The penalties of one sequence; a row costs as much as there are different tokens to change. */
export class Penalties {
  readonly #bias: readonly (readonly [number, number])[];
  readonly #repetition: number;
  readonly #frequency: number;
  readonly #presence: number;
  /** Different tokens of the prompt, where the repetition penalty needs them. Never changed. */
  readonly #prompt: ReadonlySet<number>;
  /** How often each token is in the output. */
  readonly #counts: Map<number, number>;

  /** Undefined where the parameters change nothing. */
  static of(parameters: PenaltyParameters, prompt: readonly number[]): Penalties | undefined {
    const { logitBias = [], repetitionPenalty = 1, frequencyPenalty = 0, presencePenalty = 0 } = parameters;
    const none = logitBias.length === 0 && repetitionPenalty === 1 && !frequencyPenalty && !presencePenalty;
    if (none) return undefined;
    const set = new Set(repetitionPenalty === 1 ? [] : prompt);
    return new Penalties(logitBias, repetitionPenalty, frequencyPenalty, presencePenalty, set, new Map());
  }

  private constructor(
    bias: readonly (readonly [number, number])[],
    repetition: number,
    frequency: number,
    presence: number,
    prompt: ReadonlySet<number>,
    counts: Map<number, number>,
  ) {
    this.#bias = bias;
    this.#repetition = repetition;
    this.#frequency = frequency;
    this.#presence = presence;
    this.#prompt = prompt;
    this.#counts = counts;
  }

  /** @param logits [vocabulary]; changed in place. */
  apply(logits: Float32Array): void {
    for (const [token, value] of this.#bias) logits[token]! += value;
    if (this.#repetition !== 1) {
      for (const token of this.#prompt) this.#repeat(logits, token);
      for (const token of this.#counts.keys()) if (!this.#prompt.has(token)) this.#repeat(logits, token);
    }
    if (this.#frequency === 0 && this.#presence === 0) return;
    for (const [token, count] of this.#counts) logits[token]! -= this.#frequency * count + this.#presence;
  }

  /** Counts a token of the output. */
  accept(token: number): void {
    if (this.#repetition === 1 && this.#frequency === 0 && this.#presence === 0) return;
    this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1);
  }

  clone(): Penalties {
    const counts = new Map(this.#counts);
    return new Penalties(this.#bias, this.#repetition, this.#frequency, this.#presence, this.#prompt, counts);
  }

  #repeat(logits: Float32Array, token: number): void {
    const value = logits[token]!;
    logits[token] = value > 0 ? value / this.#repetition : value * this.#repetition;
  }
}
