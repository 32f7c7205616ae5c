import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';

/** What the rows ask for, as far as their expected answers show it. */
export type Task =
  | { kind: 'labels'; labels: string[] }
  | { kind: 'number' }
  | { kind: 'json'; objects: Record<string, unknown>[] }
  | { kind: 'text'; longest: number };

/** A form of answers with what speaks for it. */
export interface RowsView {
  task: Task;
  language: 'zh' | 'en';
}

const MOST_LABELS = 16;
const LONGEST_LABEL = 64;
const NUMBER = /^[-+]?\d+(?:\.\d+)?$/;

/** @param rows those that the search may see */
export function viewRows(rows: readonly TestSetRow[], instruction: string): RowsView {
  const expected = rows.flatMap((row) => row.expected.slice(0, 1).map((text) => text.trim()));
  const inputs = rows.map(({ variables }) => JSON.stringify(variables ?? {})).join('');
  const language = /\p{Script=Han}/u.test(instruction + expected.join('') + inputs) ? 'zh' : 'en';
  return { task: taskOf(expected), language };
}

function taskOf(expected: readonly string[]): Task {
  const counts = new Map<string, number>();
  for (const text of expected) counts.set(text, (counts.get(text) ?? 0) + 1);
  const labels = [...counts.keys()].sort();
  const isShort = labels.every((label) => label !== '' && label.length <= LONGEST_LABEL);
  // Answers that come again and again are labels; the rarest of them must come twice on average.
  if (isShort && labels.length >= 2 && labels.length <= MOST_LABELS && expected.length >= 2 * labels.length) {
    return { kind: 'labels', labels };
  }
  if (expected.length > 0 && expected.every((text) => NUMBER.test(text))) return { kind: 'number' };
  const objects = expected.map(objectOf);
  if (objects.length > 0 && objects.every((object) => object !== undefined)) return { kind: 'json', objects };
  const lengths = expected.map((text) => [...text].length).sort((a, b) => a - b);
  return { kind: 'text', longest: lengths[Math.floor(lengths.length * 0.95)] ?? lengths.at(-1) ?? 0 };
}

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}
