/** What can be wrong with a row; the names that callers see. */
export type IssueCode =
  | 'malformed_json'
  | 'encoding'
  | 'missing_field'
  | 'empty_answer'
  | 'duplicate'
  | 'near_duplicate'
  | 'leakage'
  | 'length_outlier'
  | 'too_long'
  | 'no_label'
  | 'cleaned'
  | 'personal_data';

/** Something wrong with a row. */
export interface RowIssue {
  /** From 1, as an editor counts lines or the array its elements. */
  row: number;
  code: IssueCode;
  /** For people; never holds the row's content, which may be personal. */
  message: string;
}

/** Issues of a data set: all are counted, the first ones kept. */
export class IssueReport {
  readonly issues: RowIssue[] = [];
  readonly counts: Map<IssueCode, number> = new Map();
  readonly #keep: number;

  /** @param keep issues to keep for the reader; the rest is only counted */
  constructor(keep = 1000) {
    this.#keep = keep;
  }

  /** A report as another thread has sent it. */
  static from(issues: readonly RowIssue[], counts: readonly (readonly [IssueCode, number])[]): IssueReport {
    const report = new IssueReport();
    report.issues.push(...issues);
    for (const [code, count] of counts) report.counts.set(code, count);
    return report;
  }

  add(row: number, code: IssueCode, message: string): void {
    this.counts.set(code, (this.counts.get(code) ?? 0) + 1);
    if (this.issues.length < this.#keep) this.issues.push({ row, code, message });
  }

  /** Into the order of the rows, after several passes over them. */
  sort(): void {
    this.issues.sort((a, b) => a.row - b.row);
  }

  /** `3 empty_answer (rows 2, 5, 9), 1 malformed_json (row 7)`. */
  summary(rowsNamed = 5): string {
    return [...this.counts]
      .map(([code, count]) => {
        const rows = this.issues.filter((issue) => issue.code === code).map((issue) => issue.row);
        const more = count > rowsNamed ? ', ...' : '';
        const names = rows.slice(0, rowsNamed).join(', ');
        return `${count} ${code}${names ? ` (row${rows.length > 1 ? 's' : ''} ${names}${more})` : ''}`;
      })
      .join(', ');
  }
}
