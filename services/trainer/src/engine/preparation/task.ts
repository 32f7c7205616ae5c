import type { PersonalDataType } from '@landfall/masking/mask.ts';
import type { IssueCode, RowIssue } from '../data/issues.ts';
import type { Statistics } from './statistics.ts';

/** What preparation does; everything is on by default but the split. */
export interface PreparationOptions {
  keepPersonalData: boolean;
  keepNearDuplicates: boolean;
  /** Jaccard similarity from which rows are near duplicates, above 0 and at most 1. */
  nearDuplicateThreshold: number;
  keepLengthOutliers: boolean;
  /** Share of the rows for validation, from 0 (none) to below 1. */
  validationShare: number;
  seed: bigint;
}

/** What is to be prepared, from folder to folder. */
export interface PreparationTask {
  /** What the report calls the data set. */
  source: string;
  folder: string;
  /** Validation sets that training must not have seen. */
  heldOut: { ref: string; folder: string }[];
  options: PreparationOptions;
  /** An empty folder for the files named below. */
  output: string;
}

export const TRAINING_FILE = 'training.jsonl';
export const VALIDATION_FILE = 'validation.jsonl';
/** All issues, in the order they were found. */
export const ISSUES_FILE = 'issues.csv';
/** For people, in Markdown. */
export const REPORT_FILE = 'report.md';

/** What came of it, beside the files. */
export interface PreparationResult {
  rowsIn: number;
  trainingRows: number;
  validationRows: number;
  /** At most MAX_ISSUES, by row. */
  issues: RowIssue[];
  /** All of them. */
  issueCounts: [IssueCode, number][];
  /** All rows say the same. */
  onlyDuplicates: boolean;
  before: Statistics;
  after: Statistics;
  /** Personal data by type, in the rows that are kept. */
  masked: [PersonalDataType, number][];
}

export const MAX_ISSUES = 1000;
