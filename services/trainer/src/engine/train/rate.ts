/** How many of the last steps a rate is taken over. */
const WINDOW = 20;

/** Tokens and rows a second and time left, from the last steps. */
export class Rate {
  readonly #steps: { seconds: number; tokens: number; rows: number }[] = [];

  add(seconds: number, tokens: number, rows: number): void {
    this.#steps.push({ seconds, tokens, rows });
    if (this.#steps.length > WINDOW) this.#steps.shift();
  }

  /** 0 before the first step. */
  tokensPerSecond(): number {
    return this.#perSecond(({ tokens }) => tokens);
  }

  /** 0 before the first step. */
  rowsPerSecond(): number {
    return this.#perSecond(({ rows }) => rows);
  }

  /** Seconds for so many more steps; -1 before the first step. */
  remaining(steps: number): number {
    return this.#steps.length > 0 ? (this.#seconds() / this.#steps.length) * steps : -1;
  }

  #perSecond(of: (step: { tokens: number; rows: number }) => number): number {
    const seconds = this.#seconds();
    return seconds > 0 ? this.#steps.reduce((sum, step) => sum + of(step), 0) / seconds : 0;
  }

  #seconds(): number {
    return this.#steps.reduce((sum, step) => sum + step.seconds, 0);
  }
}
