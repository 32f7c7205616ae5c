import { createHash } from 'node:crypto';
import { NearDuplicates, sketchOf } from './near-duplicates.ts';
import { normalise, shinglesOf } from './shingles.ts';

interface Group {
  rows: number[];
  stratum: string;
  /** Place in the seed's order; the least of the group's questions. */
  order: number;
}

/**
 * Divides rows into training and validation by a seed: the same rows and seed give the same parts. Rows that ask the
 * same, or nearly, stay together, and each class gives its share.
 */
export class Splitter {
  readonly #seed: bigint;
  readonly #groups: Group[] = [];
  readonly #byQuestion = new Map<string, number>();
  readonly #near: NearDuplicates;
  #rows = 0;

  /**
   * @param threshold Jaccard similarity from which two questions count as the same
   * @param questionOf the question of a row that was added
   */
  constructor(seed: bigint, threshold: number, questionOf: (row: number) => string) {
    this.#seed = seed;
    this.#near = new NearDuplicates(threshold, (group) => [
      shinglesOf(questionOf(this.#groups[group]!.rows[0]!)),
    ]);
  }

  /** @param stratum the row's class, or the same for all */
  add(row: number, question: string, stratum: string): void {
    this.#rows++;
    const digest = createHash('sha256').update(normalise(question)).digest('base64');
    const order = digestOf(`${this.#seed}\n${digest}`);
    let group = this.#byQuestion.get(digest);
    if (group === undefined) {
      const sketch = sketchOf([shinglesOf(question)]);
      group = this.#near.find(sketch);
      if (group === undefined) {
        group = this.#groups.push({ rows: [], stratum, order }) - 1;
        this.#near.add(group, sketch);
      }
      this.#byQuestion.set(digest, group);
    }
    const { rows, order: least } = this.#groups[group]!;
    rows.push(row);
    this.#groups[group]!.order = Math.min(least, order);
  }

  /**
   * The rows for validation.
   *
   * @param share of the rows, from 0 to below 1; above 0 it is one row at least, and no more than leaves one
   * @returns empty too where all rows, or most of them, ask the same
   */
  validation(share: number): Set<number> {
    const chosen = new Set<number>();
    if (share <= 0 || this.#rows < 2) return chosen;
    const wanted = Math.min(this.#rows - 1, Math.max(1, Math.round(share * this.#rows)));
    const strata = Map.groupBy(this.#groups, ({ stratum }) => stratum);
    const inOrder = [...strata].sort(([a], [b]) => this.#place(a) - this.#place(b));
    let due = 0;
    for (const [, groups] of inOrder) {
      due += share * groups.reduce((sum, { rows }) => sum + rows.length, 0);
      for (const { rows } of groups.sort(byOrder)) {
        // A group that would go more beyond the share than it falls short without it stays in training.
        if (chosen.size + rows.length / 2 > Math.min(due, wanted)) continue;
        if (chosen.size + rows.length >= this.#rows) continue;
        for (const row of rows) chosen.add(row);
      }
    }
    if (chosen.size > 0) return chosen;
    const [smallest] = this.#groups.sort((a, b) => a.rows.length - b.rows.length || byOrder(a, b));
    return 2 * smallest!.rows.length <= this.#rows ? new Set(smallest!.rows) : chosen;
  }

  #place(stratum: string): number {
    return digestOf(`${this.#seed}\nstratum\n${stratum}`);
  }
}

function byOrder(a: Group, b: Group): number {
  return a.order - b.order || a.rows[0]! - b.rows[0]!;
}

/** 48 bits of a digest. */
function digestOf(text: string): number {
  return createHash('sha256').update(text).digest().readUIntBE(0, 6);
}
