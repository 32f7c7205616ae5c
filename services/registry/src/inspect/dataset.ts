import { badRows } from '../errors.ts';
import { NotAnArrayError, type Row, readJsonArray, readJsonLines } from './rows.ts';
import type { InspectedFile } from './source.ts';

/** Longest row that is read; a longer one is reported. */
const MAX_ROW_BYTES = 16 * 1024 * 1024;
/** A JSON object that describes the data set (card, features) and isn't rows. */
const MAX_METADATA_BYTES = 4 * 1024 * 1024;
/** How many problems are reported. */
const MAX_PROBLEMS = 20;

/** A row that is not one, for the report to whoever uploaded it. */
export type RowProblem = { path: string; row: number; problem: string };

/** What was seen of a sound data set: its rows, and the fields of the first ones. */
export type DatasetSummary = { rows: number; fields: string[] };

/** Rows whose fields are told, and how many fields. */
const SAMPLED_ROWS = 1000;
const MAX_FIELDS = 32;

const ROWS_FILE = /\.jsonl?$/i;

/**
 * Checks a data set: at least one .json (an array of objects) or .jsonl (an object a line) file, every row an
 * object in UTF-8. What the fields mean is the user's affair. Throws FAILED_PRECONDITION with the rows at fault, by number.
 */
export async function checkDataset(
  files: readonly InspectedFile[],
  signal?: AbortSignal,
): Promise<DatasetSummary> {
  const problems: RowProblem[] = [];
  let rows = 0;
  const fields = new Set<string>();
  for (const file of files.filter(({ path }) => ROWS_FILE.test(path))) {
    try {
      for await (const row of await readRows(file, signal)) {
        rows++;
        const problem = rowProblem(row, rows <= SAMPLED_ROWS ? fields : undefined);
        if (problem) problems.push({ path: file.path, row: row.number, problem });
        if (problems.length >= MAX_PROBLEMS) throw badRows(problems, true);
      }
    } catch (error) {
      if (!(error instanceof NotAnArrayError)) throw error;
      problems.push({ path: file.path, row: 0, problem: `not a JSON array of rows: ${error.message}` });
    }
  }
  if (problems.length > 0) throw badRows(problems, false);
  if (rows === 0)
    throw badRows([{ path: '', row: 0, problem: 'there is no .json or .jsonl file with rows' }], false);
  return { rows, fields: [...fields].sort() };
}

async function readRows(file: InspectedFile, signal?: AbortSignal): Promise<AsyncIterable<Row> | Row[]> {
  const chunks = file.stream(signal);
  if (/\.jsonl$/i.test(file.path)) return readJsonLines(chunks, MAX_ROW_BYTES);
  if (await holdsOneObject(file)) return [];
  const head = Buffer.from(await file.read(0, Math.min(file.sizeBytes, 1024)))
    .toString('latin1')
    .trimStart();
  // Many data sets on the Hugging Face hub are JSON lines under the name .json.
  if (head.startsWith('{')) return readJsonLines(chunks, MAX_ROW_BYTES);
  return readJsonArray(chunks, MAX_ROW_BYTES);
}

/** Whether the file is one pretty-printed object: metadata beside the rows. */
async function holdsOneObject(file: InspectedFile): Promise<boolean> {
  if (file.sizeBytes > MAX_METADATA_BYTES) return false;
  const text = Buffer.from(await file.read(0, file.sizeBytes))
    .toString('utf8')
    .trim();
  if (!text.startsWith('{') || !text.includes('\n')) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** @param fields takes the names of the row's fields */
function rowProblem(row: Row, fields: Set<string> | undefined): string | undefined {
  if ('problem' in row) return row.problem;
  try {
    const value: unknown = JSON.parse(row.text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'not an object';
    for (const field of fields ? Object.keys(value) : []) {
      if (fields!.size < MAX_FIELDS) fields!.add(field.replace(/\p{C}/gu, ' ').slice(0, 64));
    }
    return undefined;
  } catch (error) {
    return `not JSON: ${(error as Error).message.replace(/\s+/g, ' ').slice(0, 120)}`;
  }
}
