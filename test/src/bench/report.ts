/** What was asked for makes no sense: told without a stack. */
export class UsageError extends Error {}

/** Figures and comparisons of one bench. */
export class Report {
  readonly #name: string;
  readonly figures: Record<string, number> = {};
  readonly ratios: Record<string, number> = {};

  constructor(name: string) {
    this.#name = name;
  }

  figure(name: string, value: number, unit: string): void {
    this.figures[name] = value;
    process.stdout.write(`${this.#name}.${name} ${value.toPrecision(4)} ${unit}\n`);
  }

  /** ours / peer, both from this run. */
  ratio(name: string, ours: number, peer: number, unit: string): void {
    this.ratios[name] = ours / peer;
    const pair = `(ours=${ours.toPrecision(4)}, peer=${peer.toPrecision(4)}, ${unit})`;
    process.stdout.write(`ratio ${this.#name}.${name} ${(ours / peer).toFixed(3)} ${pair}\n`);
  }

  /** @param more what the last line has beside figures and ratios */
  end(more: object = {}): void {
    const all = { bench: this.#name, ...more, figures: this.figures, ratios: this.ratios };
    process.stdout.write(`${JSON.stringify(all)}\n`);
  }
}

/** The value below which a share of the samples lies. */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);
