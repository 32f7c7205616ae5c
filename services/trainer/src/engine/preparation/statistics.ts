import type { Example } from '../data/example.ts';

/** In characters (code points). */
export interface Lengths {
  min: number;
  median: number;
  mean: number;
  p95: number;
  max: number;
}

export interface Statistics {
  rows: number;
  distinctAnswers: number;
  question: Lengths;
  answer: Lengths;
  /** Answers with their counts, most frequent first, where answers repeat as class labels do; else empty. */
  classes: Map<string, number>;
}

const SHOWN_CLASSES = 20;
/** More different answers than this, or fewer rows of each on average, are texts and no classes. */
const MOST_CLASSES = 100;
const ROWS_A_CLASS = 3;
/** A longer text is no label. */
const LABEL_CHARACTERS = 40;

export function statisticsOf(examples: readonly Example[]): Statistics {
  const labels = classesOf(examples);
  const frequent = labels && [...labels].sort((a, b) => b[1] - a[1]).slice(0, SHOWN_CLASSES);
  return {
    rows: examples.length,
    distinctAnswers: new Set(examples.map(({ answer }) => answer)).size,
    question: lengthsOf(examples.map(({ question }) => question)),
    answer: lengthsOf(examples.map(({ answer }) => answer)),
    classes: new Map(frequent),
  };
}

/** Rows by answer where the answers are labels of classes; undefined where they are texts. */
export function classesOf(examples: readonly Example[]): Map<string, number> | undefined {
  const counts = new Map<string, number>();
  for (const { answer } of examples) {
    if (answer.length > LABEL_CHARACTERS) return undefined;
    counts.set(answer, (counts.get(answer) ?? 0) + 1);
    if (counts.size > MOST_CLASSES) return undefined;
  }
  return counts.size * ROWS_A_CLASS <= examples.length ? counts : undefined;
}

/** Code points, without making a list of them. */
export function characters(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // The second half of a pair was counted with its first.
    if (unit < 0xdc00 || unit > 0xdfff) count++;
  }
  return count;
}

function lengthsOf(texts: readonly string[]): Lengths {
  const sorted = texts.map(characters).sort((a, b) => a - b);
  if (sorted.length === 0) return { min: 0, median: 0, mean: 0, p95: 0, max: 0 };
  return {
    min: sorted[0]!,
    median: quantile(sorted, 0.5),
    mean: sorted.reduce((sum, n) => sum + n, 0) / sorted.length,
    p95: sorted[Math.ceil(0.95 * sorted.length) - 1]!,
    max: sorted.at(-1)!,
  };
}

/** Linear between ranks (type 7 of Hyndman and Fan 1996). */
export function quantile(sorted: readonly number[], share: number): number {
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - below);
}
