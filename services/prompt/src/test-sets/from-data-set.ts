import { failedPrecondition } from '@landfall/common/errors/errors.ts';
import type { CallContext } from '@landfall/common/rpc/call-context.ts';
import type { TestSetRow } from '@landfall/proto/landfall/prompt/v1/evaluation_pb.js';
import type { DataSets, RowsFile } from '../clients/data-sets.ts';
import { parseJsonArray, parseJsonLines, type RowProblem } from './parse-rows.ts';
import { requireRows } from './store.ts';

/** Rows of a data set in the registry, and where they come from. */
export interface DataSetRows {
  name: string;
  source: string;
  rows: TestSetRow[];
}

/** @throws LandfallError what the registry says, or INVALID_ARGUMENT on `field` for rows that are wrong */
export async function dataSetRows(
  dataSets: DataSets,
  ref: string,
  field: string,
  call: CallContext,
): Promise<DataSetRows> {
  const found = await dataSets.read(ref, field, { context: call });
  const rows: TestSetRow[] = [];
  const problems: RowProblem[] = [];
  for (const file of found.files) {
    const parsed = rowsOf(file, found.ref);
    rows.push(...parsed.rows);
    problems.push(
      ...parsed.problems.map(({ row, problem }) => ({ row, problem: `${file.path}: ${problem}` })),
    );
  }
  requireRows(field, rows, problems);
  return { name: found.name, source: found.ref, rows };
}

function rowsOf({ path, text }: RowsFile, ref: string) {
  // Many data sets are JSON lines under the name .json.
  if (/\.jsonl$/i.test(path) || text.trimStart().startsWith('{')) return parseJsonLines(text);
  try {
    return parseJsonArray(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.slice(0, 160) : '';
    throw failedPrecondition(`${path} of ${ref} is no list of rows: ${why}`, { cause });
  }
}
