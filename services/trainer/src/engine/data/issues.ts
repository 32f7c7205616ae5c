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
  | 'image_path'
  | 'image_places'
  | 'missing_image'
  | 'broken_image'
  | 'empty_caption'
  | 'label_conflict'
  | 'repeated_image'
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

/** What happened to rows that are kept. */
const CHANGES: ReadonlySet<IssueCode> = new Set(['cleaned', 'personal_data', 'repeated_image']);

/** Issues of a data set: all are counted, the first ones of each code kept. */
export class IssueReport {
  readonly issues: RowIssue[] = [];
  readonly counts: Map<IssueCode, number> = new Map();
  readonly #keep: number;
  readonly #sink: ((issue: RowIssue) => void) | undefined;

  /**
   * @param keep issues of a code to keep for the reader; the rest is only counted
   * @param sink gets each issue, kept or not
   */
  constructor(keep = 1000, sink?: (issue: RowIssue) => void) {
    this.#keep = keep;
    this.#sink = sink;
  }

  /** A report as another thread has sent it. */
  static from(issues: readonly RowIssue[], counts: readonly (readonly [IssueCode, number])[]): IssueReport {
    const report = new IssueReport();
    report.issues.push(...issues);
    for (const [code, count] of counts) report.counts.set(code, count);
    return report;
  }

  add(row: number, code: IssueCode, message: string): void {
    const count = (this.counts.get(code) ?? 0) + 1;
    this.counts.set(code, count);
    const issue = { row, code, message };
    if (count <= this.#keep) this.issues.push(issue);
    this.#sink?.(issue);
  }

  /** Some of the issues in the order of rows; where there is no room for all, rows left out before rows changed. */
  first(count: number): RowIssue[] {
    const byWeight = this.issues.toSorted(
      (a, b) => Number(CHANGES.has(a.code)) - Number(CHANGES.has(b.code)),
    );
    return byWeight.slice(0, count).sort((a, b) => a.row - b.row);
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
