/** Entry of the thread that prepares a data set. */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { finished } from 'node:stream/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { type Example, lineOf } from '../data/example.ts';
import { checkFolder } from '../data/files.ts';
import { prepareRows } from './prepare.ts';
import { preparationReport } from './report.ts';
import {
  type PreparationMessage,
  type PreparationResult,
  type PreparationTask,
  REPORT_FILE,
  TRAINING_FILE,
  VALIDATION_FILE,
} from './thread.ts';

const port = parentPort!;
const send = (message: PreparationMessage) => port.postMessage(message);

async function run(task: PreparationTask): Promise<PreparationResult> {
  const { source, folder, options, output } = task;
  const { examples, rowsIn, report } = await checkFolder(folder, false);
  const heldOut = await Promise.all(
    task.heldOut.map(async ({ ref, folder: at }) => {
      const rows = await checkFolder(at, false);
      return { ref, questions: rows.examples.map(({ question }) => question) };
    }),
  );
  const prepared = prepareRows(examples, heldOut, options, report);
  report.sort();
  await writeRows(path.join(output, TRAINING_FILE), prepared.training);
  await writeRows(path.join(output, VALIDATION_FILE), prepared.validation);
  const refs = heldOut.map(({ ref }) => ref);
  const text = preparationReport({ source, rowsIn, prepared, issues: report, options, heldOut: refs });
  await writeFile(path.join(output, REPORT_FILE), text);
  const { training, validation, before, after, masked } = prepared;
  return {
    rowsIn,
    trainingRows: training.length,
    validationRows: validation.length,
    issues: report.issues,
    issueCounts: [...report.counts],
    onlyDuplicates: after.rows === 1 && examples.length > 1 && (report.counts.get('duplicate') ?? 0) > 0,
    before,
    after,
    masked: [...masked],
  };
}

async function writeRows(file: string, examples: readonly Example[]): Promise<void> {
  const stream = createWriteStream(file);
  for (const example of examples) if (!stream.write(lineOf(example))) await once(stream, 'drain');
  stream.end();
  await finished(stream);
}

try {
  send({ type: 'done', result: await run(workerData as PreparationTask) });
} catch (error) {
  send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
}
