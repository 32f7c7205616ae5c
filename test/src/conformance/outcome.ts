/** One measured difference with what is allowed. */
export interface Measured {
  /** What was compared, such as `logits`. */
  what: string;
  error: number;
  tolerance: number;
}

/** How a case ended. */
export type Outcome =
  | { kind: 'measured'; measured: Measured[] }
  /** The case needs something that is not here yet. */
  | { kind: 'unsupported'; missing: string }
  /** It could not be run. */
  | { kind: 'broken'; reason: string };

/** Thrown where a case needs something that is not here yet. */
export class UnsupportedCase extends Error {}

/** Collects the largest difference per kind of comparison. */
export class Differences {
  readonly #worst = new Map<string, Measured>();

  /** @param error NaN counts as infinite: nothing was computed */
  add(what: string, error: number, tolerance: number): void {
    const size = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    const known = this.#worst.get(what);
    if (!known || size > known.error) this.#worst.set(what, { what, error: size, tolerance });
  }

  /** Largest absolute difference of two lists; a list that is too short differs infinitely. */
  addAll(what: string, got: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
    let worst = got.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
    for (let i = 0; i < expected.length; i++) {
      const error = Math.abs(got[i]! - expected[i]!);
      if (!(error <= worst)) worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
    }
    this.add(what, worst, tolerance);
  }

  /** Tokens must agree exactly: the error is the number of places where they don't. */
  addTokens(what: string, got: readonly number[], expected: readonly number[]): void {
    const places = Math.max(got.length, expected.length);
    let wrong = 0;
    for (let i = 0; i < places; i++) if (got[i] !== expected[i]) wrong++;
    this.add(what, wrong, 0);
  }

  outcome(): Outcome {
    return { kind: 'measured', measured: [...this.#worst.values()] };
  }
}

/** True when every difference is within its tolerance, and there is one. */
export function passes(outcome: Outcome): boolean {
  return (
    outcome.kind === 'measured' &&
    outcome.measured.length > 0 &&
    outcome.measured.every(({ error, tolerance }) => error <= tolerance)
  );
}

/** `pass NAME largest_error=1.2e-6 of logits (...)`: the error that comes closest to its tolerance leads. */
export function describe(name: string, outcome: Outcome): string {
  if (outcome.kind === 'unsupported')
    return `unsupported ${name} largest_error=- missing: ${outcome.missing}`;
  if (outcome.kind === 'broken') return `fail ${name} largest_error=- ${outcome.reason}`;
  const share = ({ error, tolerance }: Measured) => (tolerance > 0 ? error / tolerance : error * 1e12);
  const sorted = [...outcome.measured].sort((a, b) => share(b) - share(a));
  const [worst] = sorted;
  const word = passes(outcome) ? 'pass' : 'fail';
  if (!worst) return `${word} ${name} largest_error=- nothing to compare`;
  const details = sorted.map(({ what, error, tolerance }) => `${what} ${format(error)}/${format(tolerance)}`);
  return `${word} ${name} largest_error=${format(worst.error)} (${details.join(', ')})`;
}

function format(value: number): string {
  return value === 0 || (Number.isInteger(value) && value < 1e6) ? String(value) : value.toExponential(2);
}
