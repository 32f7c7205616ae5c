import { createHash } from 'node:crypto';
import { IssueReport } from './issues.ts';
import { readRows } from './rows.ts';

/** A file's bytes as they come. */
export type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** A row that can be trained on or answered. */
export interface Example {
  /** From 1, in its file. */
  row: number;
  question: string;
  answer: string;
}

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
 * Reads and checks rows of `question` and `answer`.
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
      const example = parse(row, raw.text, report);
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

function parse(row: number, text: string, report: IssueReport): Example | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    report.add(row, 'malformed_json', 'not valid JSON');
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    report.add(row, 'malformed_json', 'not a JSON object with question and answer');
    return undefined;
  }
  const { question, answer } = value as Record<string, unknown>;
  for (const [name, field] of [
    ['question', question],
    ['answer', answer],
  ] as const) {
    if (typeof field !== 'string') {
      report.add(row, 'missing_field', `${name} is ${field === undefined ? 'missing' : 'not a string'}`);
      return undefined;
    }
    // What a wrong encoding leaves behind once it was read as UTF-8: replacement characters and lone surrogates.
    if (field.includes('\ufffd') || !field.isWellFormed()) {
      report.add(row, 'encoding', `${name} has characters that a wrong encoding has broken`);
      return undefined;
    }
  }
  const example = { row, question: (question as string).trim(), answer: (answer as string).trim() };
  if (example.question === '') {
    report.add(row, 'missing_field', 'question is empty');
    return undefined;
  }
  if (example.answer === '') {
    report.add(row, 'empty_answer', 'answer is empty');
    return undefined;
  }
  return example;
}

function keyOf({ question, answer }: Example): string {
  return createHash('sha256')
    .update(JSON.stringify([question, answer]))
    .digest('base64');
}
