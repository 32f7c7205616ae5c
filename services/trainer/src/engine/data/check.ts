import { type Example, keyOf, parseExample } from './example.ts';
import { IssueReport } from './issues.ts';
import { readRows } from './rows.ts';

/** A file's bytes as they come. */
export type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

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
 * Reads and checks rows of `question` and `answer`, or of `messages`.
 *
 * @param files the data files' bytes; rows are numbered over all of them
 */
export async function checkRows(files: Iterable<Chunks>, options: CheckOptions = {}): Promise<CheckedRows> {
  const report = new IssueReport();
  const examples: Example[] = [];
  const seen = new Map<string, number>();
  let rowsIn = 0;
  let before = 0;
  for (const chunks of files) {
    let last = 0;
    for await (const raw of readRows(chunks, options.maxRowBytes ?? MAX_ROW_BYTES)) {
      rowsIn++;
      last = raw.row;
      const row = before + raw.row;
      if ('code' in raw) {
        report.add(row, raw.code, raw.message);
        continue;
      }
      const example = parseExample(row, raw.text, report);
      if (!example) continue;
      if (options.removeDuplicates ?? true) {
        const key = keyOf(example);
        const first = seen.get(key);
        if (first !== undefined) {
          report.add(row, 'duplicate', `same question and answer as row ${first}`);
          continue;
        }
        seen.set(key, row);
      }
      examples.push(example);
    }
    before += last;
  }
  return { examples, rowsIn, report };
}

/** True when rows are there but all say the same: nothing can be learnt from them but that one answer. */
export function isOnlyDuplicates({ examples, report }: CheckedRows): boolean {
  return examples.length === 1 && (report.counts.get('duplicate') ?? 0) > 0;
}
