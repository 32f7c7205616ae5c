import { HOUR_MS } from './counts.ts';

/** What is counted of. */
export interface CountRange {
  tenant: string;
  profile: string;
  /** '' for all. */
  line: string;
  fromMs: number;
  /** Not including. */
  toMs: number;
}

/** A column of the result: its name, which it also has in the sums, and how it is read off a row that is summed up. */
export type CountColumn = readonly [name: string, ofRow: string];

/** Queries over a range of time: whole hours of it from their sums, what is left at both ends from the rows themselves. */
export class CountSource {
  readonly #range: CountRange;
  readonly #bucketOf: (ms: string) => string;

  /** @param bucketOf SQL for the bucket of a time in milliseconds */
  constructor(range: CountRange, bucketOf: (ms: string) => string) {
    this.#range = range;
    this.#bucketOf = bucketOf;
  }

  /**
   * A query for `bucket`, groups and totals, in order of bucket and groups, and its values.
   * @param table with rows; its sums are in `<table>_hour`
   * @param only SQL that rows must meet to be counted
   */
  select(
    table: 'report' | 'finding' | 'review',
    groups: readonly CountColumn[],
    totals: readonly CountColumn[],
    only = '',
  ): [sql: string, values: unknown[]] {
    const { tenant, profile, line, fromMs, toMs } = this.#range;
    const parts: string[] = [];
    const values: unknown[] = [];
    const add = (from: string, ms: string, columns: string[], time: string, first: number, end: number) => {
      if (first >= end && parts.length > 0) return;
      parts.push(
        `select ${[`${this.#bucketOf(ms)} as bucket`, ...columns].join(', ')} from ${from} where tenant = ?
           and profile = ? and ${time} >= ? and ${time} < ?${line ? ' and line = ?' : ''}`,
      );
      values.push(tenant, profile, first, end, ...(line ? [line] : []));
    };
    const columns = [...groups, ...totals];
    const read = columns.map(([name, ofRow]) => `${ofRow} as ${name}`);
    const rows = (first: number, end: number) =>
      add(
        only ? `(select * from ${table} where ${only}) r` : table,
        'created_ms',
        read,
        'created_ms',
        first,
        end,
      );
    const [firstHour, endHour] = [Math.ceil(fromMs / HOUR_MS), Math.floor(toMs / HOUR_MS)];
    rows(fromMs, Math.min(toMs, firstHour * HOUR_MS));
    const names = columns.map(([name]) => name);
    add(`${table}_hour`, `(hour * ${HOUR_MS})`, names, 'hour', firstHour, endHour);
    rows(Math.max(fromMs, firstHour * HOUR_MS, endHour * HOUR_MS), toMs);
    const keys = ['bucket', ...groups.map(([name]) => name)].join(', ');
    const sums = totals.map(([name]) => `sum(${name}) as ${name}`).join(', ');
    const all = parts.join(' union all ');
    return [`select ${keys}, ${sums} from (${all}) c group by ${keys} order by ${keys}`, values];
  }
}
