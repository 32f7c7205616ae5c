import { randomOf } from '@landfall/metrics/random.ts';
import { describe, expect, it } from 'vitest';
import { Splitter } from './split.ts';

const seed = BigInt(process.env.LANDFALL_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
console.info(`split: LANDFALL_TEST_SEED=${seed}`);
const random = randomOf(seed, 'split');

interface Row {
  question: string;
  stratum?: string;
}
const question = () =>
  Array.from({ length: 20 }, () => String.fromCharCode(0x4e00 + Math.floor(random() * 3000))).join('');
function validation(rows: readonly Row[], share: number, by = 1n): Set<number> {
  const splitter = new Splitter(by, 0.85, (row) => rows[row]!.question);
  for (const [row, one] of rows.entries()) splitter.add(row, one.question, one.stratum ?? '');
  return splitter.validation(share);
}
const rowsOf = (count: number): Row[] => Array.from({ length: count }, () => ({ question: question() }));

describe('Splitter', () => {
  it('gives the share, the same by the same seed and another by another', () => {
    const rows = rowsOf(400);
    for (const share of [0.05, 0.1, 0.33, 0.9]) expect(validation(rows, share).size).toBe(400 * share);
    expect(validation(rows, 0.1)).toEqual(validation(rows, 0.1));
    expect(validation(rows, 0.1, 2n)).not.toEqual(validation(rows, 0.1));
    const asked = (list: readonly Row[]) =>
      [...validation(list, 0.1)].map((row) => list[row]!.question).sort();
    expect(asked(rows.toReversed())).toEqual(asked(rows));
  });

  it('takes one at least, leaves one at least, and none of nothing', () => {
    const rows = rowsOf(3);
    expect(validation(rows, 0).size).toBe(0);
    expect(validation(rows, 0.01).size).toBe(1);
    expect(validation(rows, 0.99).size).toBe(2);
    expect(validation(rowsOf(1), 0.5).size).toBe(0);
    expect(validation([], 0.5).size).toBe(0);
  });

  it('keeps together what asks the same or nearly so', () => {
    const rows = rowsOf(60).flatMap((row) => [
      row,
      { question: `${row.question}?` },
      { question: row.question },
    ]);
    const long = rowsOf(20).flatMap(({ question: one }) => {
      const text = one.repeat(3);
      return [{ question: text }, { question: `${text}吗` }];
    });
    const all = [...rows, ...long];
    const chosen = validation(all, 0.2);
    expect(chosen.size).toBeGreaterThan(0);
    for (let first = 0; first < rows.length; first += 3) {
      expect(new Set([0, 1, 2].map((i) => chosen.has(first + i))).size).toBe(1);
    }
    for (let first = rows.length; first < all.length; first += 2) {
      expect(chosen.has(first)).toBe(chosen.has(first + 1));
    }
    // Nothing can be held out where all ask the same.
    expect(validation(Array(9).fill({ question: 'q' }), 0.5).size).toBe(0);
  });

  it('takes its share of each class', () => {
    const sizes = { 是: 300, 否: 90, 不明: 10 };
    const rows = Object.entries(sizes).flatMap(([stratum, count]) =>
      rowsOf(count).map((row) => ({ ...row, stratum })),
    );
    const chosen = validation(rows, 0.1);
    expect(chosen.size).toBe(40);
    for (const [stratum, count] of Object.entries(sizes)) {
      const held = [...chosen].filter((row) => rows[row]!.stratum === stratum).length;
      expect(Math.abs(held - count / 10)).toBeLessThanOrEqual(1);
    }
  });
});
