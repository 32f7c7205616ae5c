import { mask, type PersonalDataType } from '@landfall/masking/mask.ts';
import { type Example, keyOf } from '../data/example.ts';
import type { IssueReport } from '../data/issues.ts';
import { clean } from './clean.ts';
import { NearDuplicates, normalise, shinglesOf } from './near-duplicates.ts';
import { lengthFences } from './outliers.ts';
import { split } from './split.ts';
import { characters, type Statistics, statisticsOf } from './statistics.ts';

/** Addresses of machines stay: they are what technical texts are about. */
const MASKED_TYPES: readonly PersonalDataType[] = ['id_number', 'phone', 'card', 'email'];

/** What preparation does; everything on by default but the split. */
export interface PreparationOptions {
  keepPersonalData: boolean;
  keepNearDuplicates: boolean;
  /** Jaccard similarity from which rows are near duplicates. */
  nearDuplicateThreshold: number;
  keepLengthOutliers: boolean;
  /** Share of the rows for validation, from 0 (none) to below 1. */
  validationShare: number;
  seed: bigint;
}

/** Validation rows that training must not have seen. */
export interface HeldOut {
  ref: string;
  questions: readonly string[];
}

export interface Prepared {
  training: Example[];
  validation: Example[];
  before: Statistics;
  after: Statistics;
  /** Personal data by type, in the rows that are kept. */
  masked: Map<PersonalDataType, number>;
}

/**
 * Takes checked rows through cleaning, masking, de-duplication, leakage and length checks and the split. What is
 * changed or left out is reported by row.
 *
 * @param examples rows in file order, repeats included
 */
export function prepareRows(
  examples: readonly Example[],
  heldOut: readonly HeldOut[],
  options: PreparationOptions,
  report: IssueReport,
): Prepared {
  const masked = new Map<PersonalDataType, number>();
  const inRow = new Map<Example, PersonalDataType[]>();
  const types = options.keepPersonalData ? [] : MASKED_TYPES;
  const tidy = (example: Example): Example | undefined => {
    const removed = new Set<string>();
    const found: PersonalDataType[] = [];
    const result = mapTexts(example, (text) => {
      const cleaned = clean(text);
      for (const name of cleaned.removed) removed.add(name);
      const hidden = mask(cleaned.text, { types });
      found.push(...hidden.found.map(({ type }) => type));
      return hidden.text;
    });
    const { row } = example;
    if (result.question === '' || result.answer === '') {
      const field = result.answer === '' ? 'answer' : 'question';
      report.add(
        row,
        result.answer === '' ? 'empty_answer' : 'missing_field',
        `${field} is empty once cleaned`,
      );
      return undefined;
    }
    if (removed.size > 0) report.add(row, 'cleaned', `${[...removed].join(', ')} taken out`);
    if (found.length > 0) report.add(row, 'personal_data', `masked: ${counted(found)}`);
    inRow.set(result, found);
    return result;
  };
  const tidied = examples.flatMap((example) => tidy(example) ?? []);
  // Before is as it came, but for personal data: labels are shown, and one could be a person's.
  const before = statisticsOf(
    options.keepPersonalData
      ? examples
      : examples.map((example) => mapTexts(example, (text) => mask(text, { types }).text)),
  );
  let kept = withoutRepeats(tidied, report);
  if (!options.keepNearDuplicates) kept = withoutNear(kept, options.nearDuplicateThreshold, report);
  kept = withoutLeaks(kept, heldOut, options.nearDuplicateThreshold, report);
  if (!options.keepLengthOutliers) kept = withoutOutliers(kept, report);
  for (const example of kept)
    for (const type of inRow.get(example)!) masked.set(type, (masked.get(type) ?? 0) + 1);
  const { training, validation } = split(kept, options.validationShare, options.seed);
  return { training, validation, before, after: statisticsOf(kept), masked };
}

function mapTexts(example: Example, change: (text: string) => string): Example {
  if (!example.messages) {
    return { ...example, question: change(example.question), answer: change(example.answer) };
  }
  const messages = example.messages.map(({ role, content }) => ({ role, content: change(content) }));
  const question = messages.findLast(({ role }) => role === 'user')!.content;
  return { ...example, messages, question, answer: messages.at(-1)!.content };
}

function withoutRepeats(examples: readonly Example[], report: IssueReport): Example[] {
  const first = new Map<string, number>();
  return examples.filter((example) => {
    const key = keyOf(example);
    const row = first.get(key);
    if (row === undefined) first.set(key, example.row);
    else report.add(example.row, 'duplicate', `same question and answer as row ${row}`);
    return row === undefined;
  });
}

function withoutNear(examples: readonly Example[], threshold: number, report: IssueReport): Example[] {
  const index = new NearDuplicates(threshold);
  return examples.filter((example) => {
    const { row, messages, question, answer } = example;
    const texts = messages ? messages.map(({ content }) => content) : [question, answer];
    const shingles = shinglesOf(texts.join('\n'));
    const near = index.find(shingles);
    if (near === undefined) index.add(row, shingles);
    else report.add(row, 'near_duplicate', `nearly the same as row ${near}`);
    return near === undefined;
  });
}

/** Rows whose question stands, as it is or nearly, in a validation set would let training learn the test. */
function withoutLeaks(
  examples: readonly Example[],
  heldOut: readonly HeldOut[],
  threshold: number,
  report: IssueReport,
): Example[] {
  if (heldOut.length === 0) return [...examples];
  const exact = new Map<string, number>();
  const index = new NearDuplicates(threshold);
  for (const [i, { questions }] of heldOut.entries()) {
    for (const question of questions) {
      const key = normalise(question);
      if (exact.has(key)) continue;
      exact.set(key, i);
      index.add(i, shinglesOf(question));
    }
  }
  return examples.filter(({ row, question }) => {
    const same = exact.get(normalise(question));
    const found = same ?? index.find(shinglesOf(question));
    if (found === undefined) return true;
    const how = same === undefined ? 'is nearly one' : 'is one';
    report.add(row, 'leakage', `its question ${how} of ${heldOut[found]!.ref}`);
    return false;
  });
}

function withoutOutliers(examples: readonly Example[], report: IssueReport): Example[] {
  const fields = ['question', 'answer'] as const;
  const fences = fields.map((field) => lengthFences(examples.map((example) => example[field])));
  return examples.filter((example) => {
    for (const [i, field] of fields.entries()) {
      const fence = fences[i];
      const length = characters(example[field]);
      if (!fence || (length >= fence.low && length <= fence.high)) continue;
      const usual = `${Math.max(1, Math.ceil(fence.low))} to ${Math.floor(fence.high)} are usual here`;
      report.add(example.row, 'length_outlier', `${field} has ${length} characters; ${usual}`);
      return false;
    }
    return true;
  });
}

/** `2 phone, 1 email` */
function counted(types: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const type of types) counts.set(type, (counts.get(type) ?? 0) + 1);
  return [...counts].map(([type, count]) => `${count} ${type}`).join(', ');
}
