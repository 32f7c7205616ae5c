import { type Example, type ExampleImage, keyOf, parseExample } from './example.ts';
import type { ImageFolder } from './image-folder.ts';
import { IssueReport } from './issues.ts';
import { SeenImages } from './pair.ts';
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
  /** Leaves out rows whose question, answer and images stood before. Default true; evaluation counts each row. */
  removeDuplicates?: boolean;
  /** Where images lie; absent, rows that show any are reported. */
  images?: ImageFolder;
}

const MAX_ROW_BYTES = 1024 * 1024;

/**
 * Reads and checks rows of `question` and `answer`, of `messages`, or of `image` and `caption`, into memory.
 *
 * @param files the data files; rows are numbered over all of them
 */
export async function checkRows(files: Iterable<DataFile>, options: CheckOptions = {}): Promise<CheckedRows> {
  const report = new IssueReport();
  const examples: Example[] = [];
  const seen = new Map<string, number>();
  const shown = new SeenImages();
  let rowsIn = 0;
  for await (const example of readExamples(files, report, options)) {
    rowsIn++;
    if (!example) continue;
    if (options.removeDuplicates ?? true) {
      const key = keyOf(example);
      const first = seen.get(key);
      if (first !== undefined) {
        report.add(example.row, 'duplicate', sameAs(example, first));
        continue;
      }
      seen.set(key, example.row);
    }
    if (shown.keep(example, report)) examples.push(example);
  }
  return { examples, rowsIn, report };
}

/** Says of a repeat which row it repeats. */
export const sameAs = ({ pair }: Example, row: number): string =>
  `same ${pair ? 'image and caption' : 'question and answer'} as row ${row}`;

/**
 * Reads rows one by one as their bytes come.
 *
 * @returns undefined for a row that can't be used, which is reported
 */
export async function* readExamples(
  files: Iterable<DataFile>,
  report: IssueReport,
  { maxRowBytes = MAX_ROW_BYTES, images }: Pick<CheckOptions, 'maxRowBytes' | 'images'> = {},
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
      } else {
        const example = parseExample(row, raw.text, report);
        yield example?.images ? await seen(example, images, report) : example;
      }
    }
    before += last;
  }
}

/** The row with its images as they were found; one that can't be shown is reported, and the row with it. */
async function seen(
  example: Example,
  folder: ImageFolder | undefined,
  report: IssueReport,
): Promise<Example | undefined> {
  const images: ExampleImage[] = [];
  for (const [i, { path }] of example.images!.entries()) {
    const found = (await folder?.find(path)) ?? {
      code: 'missing_image',
      message: 'there are no images here',
    };
    if ('code' in found) {
      report.add(example.row, found.code, `images[${i}]: ${found.message}`);
      return undefined;
    }
    images.push(found);
  }
  return { ...example, images };
}

/** True when rows are there but all say the same: nothing can be learnt from them but that one answer. */
export function isOnlyDuplicates({ examples, report }: CheckedRows): boolean {
  return examples.length === 1 && (report.counts.get('duplicate') ?? 0) > 0;
}
