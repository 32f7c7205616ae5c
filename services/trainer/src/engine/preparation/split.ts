import { createHash } from 'node:crypto';
import type { Example } from '../data/example.ts';
import { normalise } from './near-duplicates.ts';
import { classesOf } from './statistics.ts';

/**
 * Divides rows into training and validation by a seed: the same rows and seed give the same parts, whatever the order.
 * Rows that ask the same stay together, and each class gives its share.
 *
 * @param share of the rows that is for validation, from 0 to below 1; a share above 0 gives one row at least, and
 *   leaves one
 */
export function split(
  examples: readonly Example[],
  share: number,
  seed: bigint,
): { training: Example[]; validation: Example[] } {
  const wanted = Math.min(examples.length - 1, Math.max(1, Math.round(share * examples.length)));
  if (share <= 0 || wanted < 1) return { training: [...examples], validation: [] };
  const classes = classesOf(examples);
  const strata = new Map<string, Map<string, Example[]>>();
  for (const example of examples) {
    const stratum = classes ? example.answer : '';
    const groups = strata.get(stratum) ?? new Map<string, Example[]>();
    strata.set(stratum, groups);
    const question = normalise(example.question);
    groups.set(question, [...(groups.get(question) ?? []), example]);
  }
  const chosen = new Set<Example>();
  const asked = new Set<string>();
  let due = 0;
  // Strata and groups in the order of their digests: no order of the file decides.
  for (const [, groups] of byDigest(strata, seed)) {
    due += share * [...groups.values()].reduce((sum, rows) => sum + rows.length, 0);
    for (const [question, rows] of byDigest(groups, seed)) {
      if (chosen.size + rows.length / 2 > Math.min(due, wanted) && chosen.size > 0) break;
      for (const row of rows) chosen.add(row);
      asked.add(question);
    }
  }
  // A question that two classes answer is not to be on both sides.
  const side = (row: Example) => chosen.has(row) || asked.has(normalise(row.question));
  const training = examples.filter((row) => !side(row));
  if (training.length === 0) return { training: [...examples], validation: [] };
  return { training, validation: examples.filter(side) };
}

function byDigest<T>(entries: Map<string, T>, seed: bigint): [string, T][] {
  const digest = (key: string) => createHash('sha256').update(`${seed}\n${key}`).digest('hex');
  return [...entries]
    .map(([key, value]) => ({ key, value, order: digest(key) }))
    .sort((a, b) => (a.order < b.order ? -1 : 1))
    .map(({ key, value }) => [key, value]);
}
