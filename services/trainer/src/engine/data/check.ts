import { type Example, keyOf, parseExample } from './example.ts';
import { IssueReport } from './issues.ts';
import { type DataFile, readRows } from './rows.ts';

export type { Example } from './example.ts';

/** A data set after its check. */
export interface CheckedRows {
  /** Usable rows in file order, duplicates left out. */
  examples: Example[];
  /** Rows read, usable or not. */
  rowsIn: number;
  report: IssueReport;
}

/** Limits of a check. */
export interface CheckOptions {
  /** Longest row in bytes of JSON. Default 1 MiB. */
  maxRowBytes?: number;
  /** Leaves out rows whose question and answer stood before. Default true; evaluation counts each row. */
  removeDuplicates?: boolean;
}

const MAX_ROW_BYTES = 1024 * 1024;

/**
 * Reads and checks rows of `question` and `answer`, or of `messages`, into memory.
 *
 * @param files the data files; rows are numbered over all of them
 */
export async function checkRows(files: Iterable<DataFile>, options: CheckOptions = {}): Promise<CheckedRows> {
  const report = new IssueReport();
  const examples: Example[] = [];
  const seen = new Map<string, number>();
  let rowsIn = 0;
  for await (const example of readExamples(files, report, options.maxRowBytes)) {
    rowsIn++;
    if (!example) continue;
    if (options.removeDuplicates ?? true) {
      const key = keyOf(example);
      const first = seen.get(key);
      if (first !== undefined) {
        report.add(example.row, 'duplicate', `same question and answer as row ${first}`);
        continue;
      }
      seen.set(key, example.row);
    }
    examples.push(example);
  }
  return { examples, rowsIn, report };
}

/**
 * Reads rows one by one as their bytes come.
 *
 * @returns undefined for a row that can't be used, which is reported
 */
export async function* readExamples(
  files: Iterable<DataFile>,
  report: IssueReport,
  maxRowBytes = MAX_ROW_BYTES,
): AsyncGenerator<Example | undefined> {
  let before = 0;
  for (const file of files) {
    let last = 0;
    for await (const raw of readRows(file, maxRowBytes)) {
      last = raw.row;
      const row = before + raw.row;
      if ('code' in raw) {
        report.add(row, raw.code, raw.message);
        yield undefined;
      } else yield parseExample(row, raw.text, report);
    }
    before += last;
  }
}

/** True when rows are there but all say the same: nothing can be learnt from them but that one answer. */
export function isOnlyDuplicates({ examples, report }: CheckedRows): boolean {
  return examples.length === 1 && (report.counts.get('duplicate') ?? 0) > 0;
}
