/** Lets retries be at most a share of requests, so that a failing server is not buried under them. */
export class RetryBudget {
  readonly #share: number;
  #credit: number;

  /** @param share retries per request, 0 to 1; a quiet client may still retry a few times */
  constructor(share: number) {
    this.#share = share;
    this.#credit = 3;
  }

  request(): void {
    this.#credit = Math.min(10, this.#credit + this.#share);
  }

  takeRetry(): boolean {
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    return true;
  }
}
