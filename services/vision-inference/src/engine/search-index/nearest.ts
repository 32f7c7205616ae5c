/** An entry found: its label, and the cosine between its vector and the one looked for. */
export interface Found {
  label: number;
  score: number;
}

/** Keeps the best of what it is offered; of two with the same score the older one. */
export class Nearest {
  readonly #most: number;
  readonly #found: Found[] = [];

  constructor(most: number) {
    this.#most = most;
  }

  /** Best first. */
  get found(): readonly Found[] {
    return this.#found;
  }

  offer(label: number, score: number): void {
    const found = this.#found;
    if (found.length === this.#most && !isBefore({ label, score }, found.at(-1)!)) return;
    let [low, high] = [0, found.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(found[middle]!, { label, score })) low = middle + 1;
      else high = middle;
    }
    found.splice(low, 0, { label, score });
    if (found.length > this.#most) found.pop();
  }
}

function isBefore(a: Found, b: Found): boolean {
  return a.score > b.score || (a.score === b.score && a.label < b.label);
}
