import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { type CheckedRows, checkRows } from './check.ts';
import { ImageFolder } from './image-folder.ts';
import type { DataFile } from './rows.ts';

const ROWS = /\.jsonl?$/i;
const JSON_LINES = /\.jsonl$/i;
/** Descriptions of a data set, as hubs keep them beside the rows. */
const METADATA = new Set([
  'dataset_infos.json',
  'dataset_info.json',
  'metadata.json',
  'preparation.json',
  'state.json',
]);

/**
 * Checks all rows of a data set's folder: its `.json` and `.jsonl` files in order of path, one numbering over all.
 *
 * @param removeDuplicates false where every row counts, as in an evaluation
 */
export async function checkFolder(folder: string, removeDuplicates = true): Promise<CheckedRows> {
  return checkRows(await openRows(folder), { removeDuplicates, images: new ImageFolder(folder) });
}

/** A data set's `.json` and `.jsonl` files, in order of path; each is opened when its turn comes. */
export async function openRows(folder: string): Promise<Iterable<DataFile>> {
  const files = await rowFiles(folder);
  return (function* () {
    for (const file of files) {
      const chunks = createReadStream(file, { highWaterMark: 256 * 1024 });
      yield { chunks, jsonLines: JSON_LINES.test(file) };
    }
  })();
}

async function rowFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && ROWS.test(entry.name) && !METADATA.has(entry.name))
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
}
