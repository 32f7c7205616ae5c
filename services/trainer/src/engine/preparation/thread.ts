import { Worker } from 'node:worker_threads';
import type { PersonalDataType } from '@landfall/masking/mask.ts';
import type { IssueCode, RowIssue } from '../data/issues.ts';
import type { PreparationOptions } from './prepare.ts';
import type { Statistics } from './statistics.ts';

/** What is to be prepared, from folder to folder. */
export interface PreparationTask {
  /** What the report calls the data set. */
  source: string;
  folder: string;
  /** Validation sets that training must not have seen. */
  heldOut: { ref: string; folder: string }[];
  options: PreparationOptions;
  /** An empty folder for TRAINING_FILE, VALIDATION_FILE and REPORT_FILE. */
  output: string;
}

export const TRAINING_FILE = 'training.jsonl';
export const VALIDATION_FILE = 'validation.jsonl';
export const REPORT_FILE = 'report.md';

/** What came of it, beside the files. */
export interface PreparationResult {
  rowsIn: number;
  trainingRows: number;
  validationRows: number;
  issues: RowIssue[];
  issueCounts: [IssueCode, number][];
  /** All rows say the same. */
  onlyDuplicates: boolean;
  before: Statistics;
  after: Statistics;
  masked: [PersonalDataType, number][];
}

export type PreparationMessage =
  | { type: 'done'; result: PreparationResult }
  | { type: 'failed'; message: string };

/** Prepares a data set in a thread: a large one takes minutes of computation, and the service has others to answer. */
export async function prepareInThread(task: PreparationTask): Promise<PreparationResult> {
  const thread = new Worker(new URL('./thread-main.ts', import.meta.url), { workerData: task });
  return new Promise((resolve, reject) => {
    let outcome = () => reject(new Error('the preparation thread ended without a word'));
    thread.on('message', (message: PreparationMessage) => {
      outcome = () =>
        message.type === 'done' ? resolve(message.result) : reject(new Error(message.message));
    });
    thread.on('error', (error) => {
      outcome = () => reject(error);
    });
    thread.on('exit', () => outcome());
  });
}
