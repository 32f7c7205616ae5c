/** How many of the last steps a rate is taken over. */
const WINDOW = 20;

/** Tokens a second and time left, from the last steps. */
export class Rate {
  readonly #steps: { seconds: number; tokens: number }[] = [];

  add(seconds: number, tokens: number): void {
    this.#steps.push({ seconds, tokens });
    if (this.#steps.length > WINDOW) this.#steps.shift();
  }

  /** 0 before the first step. */
  tokensPerSecond(): number {
    const seconds = this.#seconds();
    const tokens = this.#steps.reduce((sum, step) => sum + step.tokens, 0);
    return seconds > 0 ? tokens / seconds : 0;
  }

  /** Seconds for so many more steps; -1 before the first step. */
  remaining(steps: number): number {
    return this.#steps.length > 0 ? (this.#seconds() / this.#steps.length) * steps : -1;
  }

  #seconds(): number {
    return this.#steps.reduce((sum, step) => sum + step.seconds, 0);
  }
}
