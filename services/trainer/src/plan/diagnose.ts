import type { RoundEvidence } from './evidence.ts';

/** What a round's curves say. */
export type Finding =
  /** It needs more memory than there is. */
  | 'memory'
  /** The loss is no number, or rose, or jumped about. */
  | 'diverged'
  /** Refused or failed otherwise. */
  | 'failed'
  /** The validation loss rose while the training loss fell. */
  | 'over-fitting'
  /** The training loss hardly moved. */
  | 'hardly learning'
  /** The training loss was still falling at the end. */
  | 'still falling'
  /** The training loss had come to rest. */
  | 'plateau';

export interface Diagnosis {
  finding: Finding;
  /** For people, with figures. */
  text: string;
}

/** The rise of the last windows' loss over the lowest from which a run counts as diverged. */
const RISE = 1.25;
const OVERFIT_RISE = 1.02;
const HARDLY = 0.9;
const FALLING = 0.97;

/** Reads a round's curves and failure. Losses are mean cross entropy a token, nats. */
export function diagnose({ losses, evaluationLosses, failure }: RoundEvidence): Diagnosis {
  if (/memory|DOES_NOT_FIT|does not fit|heap|out of bounds alloc/i.test(failure)) {
    return { finding: 'memory', text: `it did not fit the memory: ${short(failure)}` };
  }
  if (
    /not finite|non-finite|\bnan\b|infinit|diverge/i.test(failure) ||
    losses.some((x) => !Number.isFinite(x))
  ) {
    return { finding: 'diverged', text: 'the training loss stopped being a number' };
  }
  // A run without a curve tells nothing; one that only missed its gates does.
  if (failure !== '' && losses.length === 0)
    return { finding: 'failed', text: `it failed: ${short(failure)}` };
  if (losses.length === 0) return { finding: 'plateau', text: 'no curve was recorded' };
  const windows = means(losses, 8);
  const [first, last] = [windows[0]!, windows.at(-1)!];
  const lowest = Math.min(...windows);
  const span = `${figure(first)} → ${figure(last)}`;
  if (last > lowest * RISE && last > lowest + 0.05) {
    const text = `the training loss rose again, from ${figure(lowest)} to ${figure(last)}`;
    return { finding: 'diverged', text };
  }
  const overfit = overfitting(evaluationLosses, last < first);
  if (overfit) return overfit;
  if (windows.length > 1 && last > first * HARDLY) {
    return { finding: 'hardly learning', text: `the training loss hardly moved (${span})` };
  }
  // A rate that goes to zero flattens every curve's end, so halves of the last half are compared.
  const half = means(losses.slice(Math.floor(losses.length / 2)), 2);
  if (windows.length === 1 || half.at(-1)! < half[0]! * FALLING) {
    return { finding: 'still falling', text: `the training loss was still falling (${span})` };
  }
  return { finding: 'plateau', text: `the training loss had come to rest (${span})` };
}

function overfitting(looks: readonly number[], falls: boolean): Diagnosis | undefined {
  if (looks.length < 2 || !falls) return undefined;
  const best = Math.min(...looks);
  const last = looks.at(-1)!;
  if (!(last > best * OVERFIT_RISE)) return undefined;
  return {
    finding: 'over-fitting',
    text: `the validation loss rose from ${figure(best)} to ${figure(last)} while the training loss fell`,
  };
}

/** The means of at most `count` windows of equal length. */
function means(values: readonly number[], count: number): number[] {
  const n = Math.min(count, values.length);
  return Array.from({ length: n }, (_, i) => {
    const part = values.slice(Math.floor((i * values.length) / n), Math.floor(((i + 1) * values.length) / n));
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}

export const figure = (value: number): string => String(Number(value.toPrecision(3)));
const short = (text: string) => (text.length > 300 ? `${text.slice(0, 300)}…` : text);
