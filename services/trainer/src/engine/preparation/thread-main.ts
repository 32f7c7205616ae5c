/** Entry of the thread that prepares a data set. */

import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { IssueReport } from '../data/issues.ts';
import { isDiskFull } from '../train/errors.ts';
import { IssuesFile } from './issues-file.ts';
import { prepareFolder } from './prepare.ts';
import { preparationReport } from './report.ts';
import {
  ISSUES_FILE,
  MAX_ISSUES,
  type PreparationResult,
  type PreparationTask,
  REPORT_FILE,
} from './task.ts';
import type { PreparationMessage } from './thread.ts';

const send = (message: PreparationMessage) => parentPort!.postMessage(message);

async function run(task: PreparationTask): Promise<PreparationResult> {
  using file = new IssuesFile(path.join(task.output, ISSUES_FILE));
  const report = new IssueReport(MAX_ISSUES, (issue) => file.add(issue));
  const prepared = await prepareFolder(task, report);
  await writeFile(path.join(task.output, REPORT_FILE), preparationReport(task, prepared, report));
  const repeats = (report.counts.get('duplicate') ?? 0) + (report.counts.get('near_duplicate') ?? 0);
  return {
    ...prepared,
    masked: [...prepared.masked],
    issues: report.first(MAX_ISSUES),
    issueCounts: [...report.counts],
    onlyDuplicates: prepared.after.rows === 1 && repeats > 0,
  };
}

try {
  send({ type: 'done', result: await run(workerData as PreparationTask) });
} catch (error) {
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  send({ type: 'failed', message, diskFull: isDiskFull(error) });
}
