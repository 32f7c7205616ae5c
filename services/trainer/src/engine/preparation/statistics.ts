import { createHash } from 'node:crypto';

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

/** Counts rows as they pass; keeps no text but possible labels. */
export class Figures {
  readonly questionLengths: number[] = [];
  readonly answerLengths: number[] = [];
  readonly #answers = new Set<string>();
  #labels: Map<string, number> | undefined = new Map();

  /** @param label the answer as it may be shown */
  add({ question, answer }: { question: string; answer: string }, label = answer): void {
    this.questionLengths.push(characters(question));
    this.answerLengths.push(characters(answer));
    this.#answers.add(
      answer.length <= LABEL_CHARACTERS ? answer : createHash('sha256').update(answer).digest('base64'),
    );
    if (!this.#labels) return;
    this.#labels.set(label, (this.#labels.get(label) ?? 0) + 1);
    if (label.length > LABEL_CHARACTERS || this.#labels.size > MOST_CLASSES) this.#labels = undefined;
  }

  /** Rows by answer where the answers are labels of classes; undefined where they are texts. */
  classes(): ReadonlyMap<string, number> | undefined {
    const labels = this.#labels;
    return labels && labels.size * ROWS_A_CLASS <= this.answerLengths.length ? labels : undefined;
  }

  statistics(): Statistics {
    const frequent = [...(this.classes() ?? [])].sort((a, b) => b[1] - a[1]).slice(0, SHOWN_CLASSES);
    return {
      rows: this.answerLengths.length,
      distinctAnswers: this.#answers.size,
      question: lengthsOf(this.questionLengths),
      answer: lengthsOf(this.answerLengths),
      classes: new Map(frequent),
    };
  }
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

function lengthsOf(lengths: readonly number[]): Lengths {
  const sorted = Float64Array.from(lengths).sort();
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
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - below);
}
